// Package kv holds two state machines: KV, the reference key-value store, and Null, which executes nothing and counts
// everything, so that replication can be measured without a store behind it.
//
// Both are made for being checked. A key carries a version, the number of writes applied to it since it first
// existed, and the slot of the last one; deletion does not reset the version, so that a lost or a doubled write shows
// as a version that disagrees with what clients were told. Null counts commands per session and adds up their
// sequence numbers: a lost or doubled block shows in one sum or the other. Both chain a hash over every slot they
// applied, results included (StateHash), equal on replicas that did the same.
//
// # Commands and results of KV
//
//	command = op u8 | uvarint key length | key | rest
//	  get                                        result: status, version, value
//	  put     value                              result: status, version
//	  delete                                     result: status, version
//	  cas     expect u8 | uvarint length | old | new   result: status, version, on mismatch the present value
//	  incr    delta i64 little endian            result: status, version, the new value (8 bytes)
//	multi   (instead of length, key and rest)  result: status, 0, uvarint count, count results each after its uvarint length
//	        uvarint n | n guards | uvarint n | n commands | uvarint n | n commands, each command after its uvarint length
//	        guard = kind u8 | uvarint key length | key | equals: uvarint length, value; version: uvarint version
//
//	result = status u8 | uvarint version | value
//
// put replaces or creates. delete of what is not there changes nothing (StatusNotFound). cas writes new if the
// present value equals old, or if expect is 0 and there is no value. incr takes a value of 8 bytes as a
// little-endian integer, nothing as 0, and wraps around on overflow. The version in a result is the key's after the
// command; 0: never written. multi is guarded (Paxos Made Live, section 5.6, MultiOp): if all its guards hold its first
// list of commands is executed, else its second (StatusGuard), as one step. A command that is not well formed changes nothing and gets StatusMalformed.
//
// # Queries
//
//	get     op u8 | key                                  answer: status u8 | uvarint version | uvarint slot | value
//	scan    op u8 | uvarint from | uvarint limit | values u8   answer: see ScanPage
//	digest  op u8                                        answer: hash u64 | uvarint slot, rows, commands
//
// A scan walks rows in the order in which they first existed. That order is a property of the log, hence equal on all
// replicas, and rows never move: pages read one after the other show every row exactly once, also while writes go on.
//
// # Memory
//
// A row is never freed: a deleted key keeps its name and version (about 100 bytes plus the key). Values are
// overwritten in place; an overwrite of the same size class allocates nothing.
//
// # Snapshots
//
// Rows live in pages of 16 under directories of 256 pages. Snapshot copies the list of directories, one pointer per
// 4096 rows, and nothing else; while a view is alive, the first write to a page copies the page (and the first to its
// directory the directory), and the first write to a value copies the value. The view's bytes are written in row
// order and are equal on all replicas in the same state.
package kv
