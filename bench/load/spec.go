package load

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// SpecError is a setting that cannot be used. It names the flag, repeats what was given, and says what would do.
type SpecError struct {
	Flag  string // without dashes; empty: the caller knows
	Given string
	Want  string
}

func (e *SpecError) Error() string {
	if e.Flag == "" {
		return fmt.Sprintf("%q: %s", e.Given, e.Want)
	}
	return fmt.Sprintf("--%s %q: %s", e.Flag, e.Given, e.Want)
}

func wrong(flag string, given any, want string, args ...any) error {
	return &SpecError{Flag: flag, Given: fmt.Sprint(given), Want: fmt.Sprintf(want, args...)}
}

// Arrival is how an open loop spaces its operations.
type Arrival uint8

const (
	Uniform Arrival = iota // operation i is due at start + i/rate
	Poisson                // gaps are exponential: independent users, with their bursts
)

// API is which interface of the client library carries the load.
type API uint8

const (
	APIBlock API = iota // the generator fills blocks: one completion per block
	APICall             // one asynchronous call and one completion per command; the library makes the blocks
)

// SM is the state machine that the commands are for.
type SM uint8

const (
	KV   SM = iota // puts, and with Config.Reads gets, on Config.Keys keys
	Null           // commands are counted, never looked at: the cost of replication alone
)

// ReadMode is how a read is served.
type ReadMode uint8

const (
	ReadQuorum ReadMode = iota // read-index: a quorum confirms the leader, nothing is written
	ReadLog                    // the read is a command of the log
	ReadLease                  // the leader answers within its lease
	ReadStale                  // any replica answers from what it has applied
)

var (
	arrivalNames = []string{"uniform", "poisson"}
	apiNames     = []string{"block", "call"}
	smNames      = []string{"kv", "null"}
	readNames    = []string{"quorum", "log", "lease", "stale"}
)

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return strconv.Itoa(i)
}

func choose[T ~uint8](flag, s string, names []string) (T, error) {
	for i, n := range names {
		if s == n {
			return T(i), nil
		}
	}
	return 0, wrong(flag, s, "want one of %s", strings.Join(names, ", "))
}

// ParseArrival reads the value of --arrival.
func ParseArrival(s string) (Arrival, error) { return choose[Arrival]("arrival", s, arrivalNames) }

// ParseAPI reads the value of --api.
func ParseAPI(s string) (API, error) { return choose[API]("api", s, apiNames) }

// ParseSM reads the value of --sm.
func ParseSM(s string) (SM, error) { return choose[SM]("sm", s, smNames) }

// Query is the mode of queries that serve such reads; ReadLog needs none.
func (m ReadMode) Query() wire.QueryMode {
	switch m {
	case ReadLease:
		return wire.QueryLease
	case ReadStale:
		return wire.QueryStale
	}
	return wire.QueryLinearizable
}

// ParseReadMode reads the value of --read-mode.
func ParseReadMode(s string) (ReadMode, error) { return choose[ReadMode]("read-mode", s, readNames) }

func (a Arrival) String() string  { return name(arrivalNames, int(a)) }
func (a API) String() string      { return name(apiNames, int(a)) }
func (s SM) String() string       { return name(smNames, int(s)) }
func (m ReadMode) String() string { return name(readNames, int(m)) }

// byteUnits are the units of ParseBytes; the longer ones first, so that "KiB" is not read as "B".
var byteUnits = []struct {
	name string
	size float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"b", 1},
}

// ParseBytes reads a number of bytes: 16, 512B, 64KiB, 1.5MiB (powers of 1024; K, M and G too), 4kB, 1MB (powers of
// 1000). Case does not matter. flag is what the error names; empty: the caller names it.
func ParseBytes(flag, s string) (int64, error) {
	number, unit := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = rest, u.size
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	v *= unit
	if err != nil || !(v >= 0) || v > 1<<53 || v != math.Trunc(v) {
		return 0, wrong(flag, s, "want a number of bytes such as 16, 512B or 64KiB")
	}
	return int64(v), nil
}

// FormatBytes writes a number of bytes in the largest binary unit that divides it; ParseBytes reads the same number.
func FormatBytes(n int64) string {
	for i := 2; i >= 0 && n != 0; i-- {
		if size := int64(1) << (10 * (i + 1)); n%size == 0 {
			return strconv.FormatInt(n/size, 10) + [...]string{"KiB", "MiB", "GiB"}[i]
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// ValueBytesMax bounds a value: a command of it, with key and framing, stays within the limits of package wire.
const ValueBytesMax = 1<<20 - 256

const sizesForm = "want a size (16), a range (uniform:1..1024) or a list (list:16,64,1KiB; a size that stands twice is drawn twice as often)"

// Sizes is a distribution of value sizes in bytes. The zero value is 16 bytes.
type Sizes struct {
	list    []int // every entry equally likely
	lo, hi  int   // or each size from lo to hi
	hasList bool
}

// FixedSize is always n bytes.
func FixedSize(n int) Sizes { return Sizes{lo: n, hi: n} }

// ParseSizes reads the value of --value-size.
func ParseSizes(s string) (Sizes, error) {
	one := func(t string) (int, error) {
		n, err := ParseBytes("value-size", t)
		if err != nil {
			return 0, wrong("value-size", s, sizesForm)
		}
		if n < 1 || n > ValueBytesMax {
			return 0, wrong("value-size", s, "a value has 1 to %d bytes", ValueBytesMax)
		}
		return int(n), nil
	}
	if spec, ok := strings.CutPrefix(s, "uniform:"); ok {
		a, b, ok := strings.Cut(spec, "..")
		if !ok {
			return Sizes{}, wrong("value-size", s, sizesForm)
		}
		lo, err := one(a)
		if err != nil {
			return Sizes{}, err
		}
		hi, err := one(b)
		if err != nil {
			return Sizes{}, err
		}
		if hi < lo {
			return Sizes{}, wrong("value-size", s, "the range ends before it starts: want uniform:%d..%d", hi, lo)
		}
		return Sizes{lo: lo, hi: hi}, nil
	}
	if spec, ok := strings.CutPrefix(s, "list:"); ok {
		z := Sizes{hasList: true}
		for t := range strings.SplitSeq(spec, ",") {
			n, err := one(t)
			if err != nil {
				return Sizes{}, err
			}
			z.list = append(z.list, n)
		}
		return z, nil
	}
	n, err := one(s)
	return FixedSize(n), err
}

// At is the size that the hash h stands for: equal hashes, equal sizes.
func (z Sizes) At(h uint64) int {
	if z.hasList {
		return z.list[reduce(h, uint64(len(z.list)))]
	}
	lo, hi := z.bounds()
	if lo == hi {
		return lo
	}
	return lo + int(reduce(h, uint64(hi-lo+1)))
}

func (z Sizes) bounds() (lo, hi int) {
	if z.hi == 0 {
		return 16, 16
	}
	return z.lo, z.hi
}

// Fixed is the size in bytes if there is only one, else 0.
func (z Sizes) Fixed() int {
	if lo, hi := z.bounds(); !z.hasList && lo == hi {
		return lo
	}
	return 0
}

// Max is the largest size in bytes.
func (z Sizes) Max() int {
	_, most := z.bounds()
	if z.hasList {
		most = 0
		for _, n := range z.list {
			most = max(most, n)
		}
	}
	return most
}

// Mean is the expected size in bytes.
func (z Sizes) Mean() float64 {
	if z.hasList {
		sum := 0
		for _, n := range z.list {
			sum += n
		}
		return float64(sum) / float64(len(z.list))
	}
	lo, hi := z.bounds()
	return float64(lo+hi) / 2
}

// MarshalText and UnmarshalText are String and ParseSizes: for settings that go to another process.
func (z Sizes) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// UnmarshalText is ParseSizes.
func (z *Sizes) UnmarshalText(text []byte) (err error) {
	*z, err = ParseSizes(string(text))
	return err
}

// String is the form that ParseSizes reads.
func (z Sizes) String() string {
	if z.hasList {
		parts := make([]string, len(z.list))
		for i, n := range z.list {
			parts[i] = strconv.Itoa(n)
		}
		return "list:" + strings.Join(parts, ",")
	}
	lo, hi := z.bounds()
	if lo == hi {
		return strconv.Itoa(lo)
	}
	return fmt.Sprintf("uniform:%d..%d", lo, hi)
}
