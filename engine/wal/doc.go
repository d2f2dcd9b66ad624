// Package wal is a node's log on disk. This is its design.
//
// # Goals
//
//  1. What Sync returned for under policy "always" is replayed after any crash, in order, or the log is refused with a
//     message. It is never silently shortened by anything but a torn tail that nobody had been promised.
//  2. One fdatasync for everything that all groups of the node wanted written in the meantime (group commit), and
//     nothing else: no metadata in the sync, no copy of a record, no allocation.
//  3. Disk use bounded by configuration, in steady state without making or removing files.
//  4. A log that cannot be trusted says so, naming file, offset and the way out. A node that may have forgotten a vote or a
//     promise must not vote, so guessing is worse than refusing.
//
// # Files
//
//	identity                     whose log this is; its presence makes the directory a log (see Identity)
//	suspect                      there if the log may have lost acknowledged records; says why (suspect.go)
//	*.lost                       put aside by Rejoin or Repair; no node reads it
//	lock                         flock while a process has the log open, with its process id
//	seg-0000000000000001.wal     segments; ids count from 1 without gaps
//	spare-000000000000000a.wal   zero-filled or formerly used files of the configured size
//	*.tmp                        being made; worth nothing after a crash
//
// Segment files have their final size, and every block of them written once, before they get their name, so that an
// fdatasync has no metadata to write. Segments that nobody needs become spares and then segments again. Under "always"
// whole sectors are written past the page cache where the system can (vfs.Direct): pages that are synced at once and never
// read again are only in the way there.
//
// # Bytes
//
// All integers are little endian. A segment is a header sector, groups, and the seal. Everything begins at a multiple
// of 512 bytes, a sector:
//
//	+--------+--------------+-------+-------+--   --+-------+----------+---------------------+
//	| header | opening group| group | group |  ...  | group | end mark | anything, at worst  |
//	| 512    |              |       |       |       |       | or seal  | of a former life    |
//	+--------+--------------+-------+-------+--   --+-------+----------+---------------------+
//
// Segment header (512 bytes; what is not drawn is zero):
//
//	0    magic "PXWAL\r\n\x1a"      40   file size, u64          80   members, u32 each, up to 64
//	8    version, u32               48   first LSN, u64          508  CRC32C of bytes 0..507
//	12   header size, u32           56   oldest segment, u64
//	16   cluster, u64               64   salt, u64: random, new for each life of a file
//	24   node, u32                  72   CRC of the previous segment's seal, u32; 0 in segment 1
//	28   count of members, u32
//	32   segment id, u64
//
// Group header (64 bytes), followed by the records back to back, followed by zeros (see padding):
//
//	0    magic "PXG1"               32   oldest segment still needed, u64
//	4    flags, u16                 40   count of records, u32
//	6    0                          44   length of the records in bytes, u32
//	8    segment id, u64            48   CRC of the group header before this, u32 (the chain)
//	16   LSN of the first record    52   CRC32C of the records, u32
//	24   durable-through LSN        56   0
//	                                60   CRC32C of bytes 0..59, u32
//
// Both CRCs of a group start from the CRC of (cluster, node, segment id, salt): a group of another cluster, node, segment, or
// of the file's former life does not validate, wherever a disk may have put it. Header and records have CRCs of their
// own so that an intact header counts as a witness even if its records are damaged. The chain ties each group to the
// one before: its header's CRC covers the header before, which covers its records, and so on; a segment's first group is
// tied to the segment header, and that to the seal of the segment before.
//
// A record is a frame of package wire, byte for byte as it crossed the network, with its own length and CRC. LSNs number
// records from 1, those which the log adds included.
//
// The opening group holds the membership (RecMembers) and, for each group that has one, the highest ballot promised, by
// a promise or by a vote (RecPromise), and the trim mark (RecTrim). With it a segment repeats all that older segments said
// except for votes and for promises of one slot, so that an old segment can go when no group needs one of those in it.
//
// The seal is a group header with its own flag and no records. It says: everything before is durable, and the next
// segment exists. Its bytes are a function of what precedes it.
//
// The end mark is a group header with its own flag and no records as well. It stands behind the last group, in the sector
// where the next one will begin, says which LSN that will have, and is tied by the chain to the group before. Each group is
// written with its mark behind it, in the padding that is written in any case, and over the mark of the group before. So the
// log's end is not the place where nothing can be read, but a place that says so. Without it a last group of one
// sector that was zeroed, or that the disk confirmed and did not write, would leave an end like any other.
//
// # Writing
//
// Append writes one group: the header, the records from the callers' own buffers, padding and end mark, in one pwritev. Sync is one
// fdatasync. Under policy "always" a second Append before Sync extends the group that is open: it writes the new records
// behind the old and then the header once more. So there is never more than one group which is not durable, and
//
//	(*) under "always" every group's durable-through LSN is the LSN before its first.
//
// Under "interval" and "never" each Append is a group of its own, flagged as such, and durable-through is what the
// background sync had reached.
//
// A new segment (rotate), with the old one called N:
//
//	1  fdatasync N                                      all of N is durable
//	2  write header and opening group into a spare, fdatasync it
//	3  rename the spare to seg-N+1, sync the directory  N+1 exists
//	4  write the seal into N, fdatasync N               N+1 must exist
//	5  append to N+1
//
// Trim writes the mark and, in the header of the group that carries it, the oldest segment still needed, syncs, and
// only then renames or removes files. Thus every id from the oldest needed, as the last group has it, to the newest is there,
// or something was lost.
//
// # Replay
//
// The newest segment says which ids are needed. These are read oldest first. In all but the newest, groups run up to
// the seal, and the next segment's header carries the seal's CRC. In the newest they run up to the first place P where
// there is no intact group. Then:
//
//	what is found                                                                  what is done
//	the end mark that belongs at P, zeros from it to the end of the page, no       clean: go on at P
//	  group header or end mark of this segment behind
//	anything else at P, zeros included; no witness                                 torn: marked suspect if so configured,
//	                                                                               then cut at P, wiped, go on at P
//	a witness: an intact group header or end mark of this segment at P or any      refused
//	  sector behind whose durable-through LSN is at or above the LSN expected at P
//	an intact group header at P whose LSN or chain does not fit                    refused
//	P is the place of the opening group, which was durable before the file's name  refused
//	the seal at P: the newest segment is not the newest                            refused
//	a needed id is missing, a file is short, long, of another id, node or cluster  refused
//	another version of a file with a good CRC                                      refused, naming both versions
//
// The search for witnesses looks at every sector and at nothing else: groups begin at sectors, and the damaged group's
// length is not believed. That is what scanning on byte by byte comes to in this layout.
//
// By (*) under "always" any group behind P is a witness. Under the other policies groups that no sync covered reach
// the disk in any order; an intact one behind a lost one proves nothing by its mere presence, and the lost one was
// promised to nobody against a power loss, so what has no witness is cut. The durable-through LSN still makes a witness of
// every group written after a sync, so damage further back is refused there too.
//
// # Why a cut stays cut
//
// After a cut at P, stale but intact groups of this very segment may lie behind P (policies other than "always"), or parts
// of a torn one. Suppose a new group A is later written at P and an old group B begins exactly where A ends. B must not be
// read as A's successor. Its LSN may fit. Its chain fits only if A's header equals the header of the group that stood there
// when B was written, that is, if the same records were written again at the same durable-through LSN; this can happen. So
// the chain alone is not enough, and the cut is made durable by wiping: before Replay returns, everything from P to the
// segment's end is overwritten with the end mark and zeros and synced. If a crash interrupts the wipe, the next replay finds P where it
// was: the group at P is damaged or the end mark, what is left behind P is a subset of what was there, and none of it is a witness,
// because it was none before. After the wipe no intact group of this segment lies behind P, and only groups that follow
// P can come into being, each written where the chain ends.
//
// Bytes of a former life of the file, of which a reused segment is full, and records that hold what looks like a group (a
// client may store anything) never validate: they do not know the salt.
//
// # Crash states
//
// "Process" is a crash that leaves the kernel running: all that was written is there, not all of it durable. "Power" is
// one that leaves of the un-synced changes any part, by sectors for contents.
//
//	crash                                      left behind                          replay
//	in bootstrap, before the identity's name   files without identity               Open: not a log; Bootstrap starts over
//	during a pwritev, or before its fdatasync  power: the group whole, in part or   taken if whole, else cut. Nobody was
//	                                           not at all; its end mark or not      told of it, so both are right
//	                                           process: likewise, or whole          likewise; what is taken is made durable
//	during the second pwritev of an extension  the group with its old header        the first Appends' records; the rest
//	                                                                                is cut
//	rotation, in 1 or 2                        a half-made spare                    N is the newest
//	rotation, between 3 and 4                  N+1 with its opening group, N        the seal is computed; N+1 carries its
//	                                           without its seal                     CRC: written again, N+1 is the newest
//	rotation, after 4                          N sealed, N+1                        N+1 is the newest
//	in Trim, before its fdatasync              the mark or not                      all segments needed are there
//	in Trim, after it                          segments below the oldest needed,    they become spares, unread
//	                                           some of them renamed or removed
//	making or removing spares                  *.tmp, spares                        removed; taken over
//	in Replay                                  as before it, or parts of the wipe,  as before it
//	                                           the seal, the rewrite
//
// Before Replay returns, the directory is synced, the groups in the newest segment that no later group vouches for are
// written once more and the file is synced: a process that crashed may have left them in memory only, and if it ended
// because a sync failed, the kernel may hold them as clean, so that a sync alone would write nothing. Whatever a power loss
// takes after Replay, it takes nothing that Replay gave.
//
// # What a crash may leave, and what replay makes of it
//
// The tests run a fixed and a random script on a log and then do to it, at every operation, everything that the table says;
// damage is done to two logs of the fixed scripts. Replay must give exactly the state after some prefix of what the log was
// given, and the outcome is one of
//
//	complete      all that was acknowledged, and a clean end
//	torn          all that was acknowledged; the end is cut, and the Verdict says so
//	refused       an error that names the file, and the offset if it is in one
//	ambiguous     the Verdict is torn, and what was acknowledged last is cut: a torn write looks the same (see "What is not
//	              promised"). One sector costs the last group at most; more than one may cost more
//	needs peers   what was acknowledged last is missing, and nothing on this disk can say so: the disk confirmed the last
//	              write or sync, did nothing, and then lost power. Only that leads here
//
// Anything else fails the tests: crashes and failed operations must end complete or torn, damage never in "needs peers".
// As counted by go test -run Enumerate -v ./engine/wal (more random scripts: -args -wal.scripts=20):
//
//	fault                                              complete     torn  refused ambiguous needs peers
//	a crash in recovery, at every operation               15957     1727        0         0           0
//	power loss at every operation, LoseAll                  506        0        0         0           0
//	power lost right after recovery                        8550        0        0         0           0
//	used after recovery, power lost again                  7013     1537        0         0           0
//	power loss at every operation, LoseNone                 484       22        0         0           0
//	power loss at every operation, KeepPrefix               900      112        0         0           0
//	power loss at every operation, KeepSectors              744      268        0         0           0
//	power loss at every operation, KeepGarbage              735      277        0         0           0
//	power loss at every operation, KeepNames                506        0        0         0           0
//	power loss at every operation, KeepContents             484       22        0         0           0
//	process crash at every operation                        484       22        0         0           0
//	EIO                                                     559       85        0         0           0
//	ENOSPC                                                  630       50        0         0           0
//	short write                                             449       51        0         0           0
//	short write inside a sector                             323      177        0         0           0
//	EIO of a sync, success from then on                     396        0        0         0           0
//	EMFILE                                                  152        0        0         0           0
//	EIO of a read                                           112        0        0         0           0
//	a write never done, power loss at the end                88        0       29         0           1
//	a sync that did nothing, then a power loss              531       31        0        58          73
//	a bit of the identity file                                0        0      616         0           0
//	a bit of a segment                                    20984     4096    59992      9136           0
//	a bit of a segment behind its end                      4096      512        0         0           0
//	a bit of a spare                                       8192        0        0         0           0
//	a sector zeroed                                          18        2       44         5           0
//	a sector as it was before                                18        2       44         5           0
//	a sector with the content of another                   1161      138     1622       193           0
//	the last write of a sector went to another              419       64     2127       153           0
//	a sector of another node's log                           10        2       20         2           0
//	a sector unreadable                                      16        0       64         0           0
//	all sectors from one on zeroed                           29        2       38        11           0
//	a page zeroed                                            24        0       48         8           0
//	a file or all files lost, cut, exchanged                  7        0       28         0           0
//
// A power loss leaves of the un-synced changes what its name says (vfs.Loss). What is cut of a torn end is wiped, so the next
// replay ends complete. TestPlanted (build tag planted) puts mistakes into the log that these tests must find.
//
// # Repair
//
// If each node's log is damaged in another place, every node is refused, although every byte is on some disk: votes are frames, and the same
// frames stand in the others' logs. Repair (paxbench wal repair) puts them back. It is not a way to get a log that will do, but the
// very log that was: it writes nothing that a checksum of this log does not prove, and leaves the log alone if one place that is
// needed stays open.
//
//	damaged                             what may stand there                                  what proves it
//	records, the group's header is      intact records stay; for the others frames from all   the header's CRC of the records
//	  whole                             logs, tried by slot, by what stands before them in
//	                                    other logs and by the bytes left; a record whose own
//	                                    fixed part is whole with another's value
//	headers of groups                   a header is a function of its records and of what     the chain CRC in the next intact header, end
//	                                    precedes, but for the oldest segment needed and the   mark or seal, or, over the seal, in the next
//	                                    policy, of which there are few; so are the places     segment's header
//	                                    of several in a row
//	promises, trim marks, adopted       in no other log: tried for ballots heard of and slots the same; at most two in one place
//	  votes                             nearby
//	an opening group                    a function of the segments before                     the same
//	a segment's header                  the opening group, the identity, the seal before;     the opening group's header (repairheader.go)
//	                                    the salt, if it is gone, any with the same CRC
//	a seal                              Replay writes it again                                the next segment's header
//	the last group, with its end mark   as any other: it is then not torn any more            as any other
//	or header whole
//	unreadable sectors, a file cut      as zeros
//
// Not repaired: the identity; a lost file; the header of the oldest segment if the CRC of the seal before it is gone as well, for that
// segment is; a segment whose header and opening group's header are both gone; what is in no log, which is what all of a majority had and
// trimmed, and what the search does not come to within its bounds: it holds at most 2^14 things against a CRC. Spares are searched as well: they
// hold what was trimmed until they are used again.
//
// Snapshots are not repaired. A node whose snapshot is damaged goes on from an older one if the log reaches back to it, and is refused otherwise
// (engine.MissingError) and rejoins: a majority of the others must be whole. So if one node's snapshot and another's log are
// damaged, the log is repaired first.
//
// The segments are replaced when all of them are proved: the old content is written to *.lost, then the new file takes the name in one rename. A
// crash leaves one or the other, and Repair may be repeated. Everything that disks do to one sector of two logs, with two other nodes' logs at
// hand, comes to this (go test -run EnumerateRepair -v ./engine/wal); "repaired" is byte for byte what it was:
//
//	fault                                              no need    repaired   torn left     refused
//	a sector zeroed                                          0          47           0           2
//	a sector as it was before                                0          47           0           2
//	a sector with the content of another                     0          45           0           2
//	a sector with the content of the next                    0          37           0           2
//	a sector unreadable                                      0          47           0           2
//	a page zeroed                                            0           2           1           4
//	a bit                                                  216         911           0           0
//	a file cut in half                                       0           3           1           0
//	a file lost                                              0           0           0           4
//
// The bits in "no need" are those of padding. TestRepairEach damages three logs and repairs each from the other two.
//
// # Errors
//
// The first failed write or sync ends the log: every later call returns it. Nothing is retried, because a failed fdatasync
// may have dropped the data and the next one then succeeds. The only failure that is not final is a full disk: a write that
// finds no room is nobody's vote yet, changes nothing that was synced, and goes to the same place when it is repeated
// (FullError). A sync or a rename that says so is final all the same, and a spare made ahead of need is done without.
//
// # Assumptions
//
//  1. A sector of 512 bytes is written whole or not at all, or is unreadable, or holds garbage; a sector that is
//     overwritten with the bytes it holds keeps them. The kernel writes pages of 4096 bytes, and so writes durable sectors
//     again along with new ones.
//  2. When fdatasync returns without error, what was written before it began is on a medium that survives a power loss,
//     as far as the file's size and blocks do not change. The drive's cache is the drive's promise.
//  3. A directory sync makes earlier renames, creations and removals durable; a rename is atomic.
//  4. CRC32C tells damaged bytes from intact ones; damage is not made on purpose by somebody who knows the salt.
//  5. fallocate or writing zeros reserves blocks for good: the file system does not copy on write. On one that does
//     (btrfs, zfs) everything stays correct, and fdatasync costs more.
//
// # What is not promised
//
//   - If the last group (under the other policies: the groups that no later group vouches for) was acknowledged and is
//     damaged afterwards, with nothing written behind it, this looks exactly like a torn tail, and is cut. From one disk
//     alone the two cannot be told apart. The Verdict says that the end is not as it should be and from which LSN on records
//     may be missing, and with Config.SuspectTorn the log is marked as suspect before anything is cut: its node asks its
//     peers before it votes again.
//   - A disk that confirms the whole last write and has none of it, end mark included, leaves the log as it was before, with
//     a clean end. Peers can tell, the log cannot. That any part of it arrived is enough for the Verdict to be torn.
//   - A directory rolled back as a whole to an older copy of itself is a good log. Peers can tell, the log cannot: a node that
//     starts asks them before it votes (engine/paxos/back.go).
//   - Under "interval" and "never" a power loss takes what was not synced, votes and promises included.
//   - Two segments lost together with their successors, if these are the newest and the seal before them is damaged too.
package wal
