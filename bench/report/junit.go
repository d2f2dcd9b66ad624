package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/result"
)

// The forms of JUnit's XML that CI systems read.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string       `xml:"name,attr"`
	Tests      int          `xml:"tests,attr"`
	Failures   int          `xml:"failures,attr"`
	Errors     int          `xml:"errors,attr"`
	Skipped    int          `xml:"skipped,attr"`
	Time       string       `xml:"time,attr"`
	Timestamp  string       `xml:"timestamp,attr,omitempty"`
	Hostname   string       `xml:"hostname,attr,omitempty"`
	Properties []junitValue `xml:"properties>property"`
	Cases      []junitCase  `xml:"testcase"`
}

type junitValue struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string      `xml:"classname,attr"`
	Name    string      `xml:"name,attr"`
	Time    string      `xml:"time,attr"`
	Failure *junitWords `xml:"failure,omitempty"`
	Error   *junitWords `xml:"error,omitempty"`
	Skipped *junitWords `xml:"skipped,omitempty"`
}

type junitWords struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes test results for CI: a suite per run with a case for safety, one for validity and one per objective. A
// missed objective and violated safety are failures, an invalid measurement is an error, and safety that was not
// checked is skipped. An objective of an invalid or violated run is skipped: nobody knows whether it is met.
func JUnit(w io.Writer, runs []Run) error {
	all := junitSuites{Name: "paxbench"}
	for _, run := range runs {
		s := suite(run)
		all.Tests, all.Failures = all.Tests+s.Tests, all.Failures+s.Failures
		all.Errors, all.Skipped = all.Errors+s.Errors, all.Skipped+s.Skipped
		all.Suites = append(all.Suites, s)
	}
	text, err := xml.MarshalIndent(&all, "", "  ")
	if err != nil {
		return fmt.Errorf("report: junit: %w", err)
	}
	return write(w, xml.Header+string(text)+"\n")
}

func suite(run Run) junitSuite {
	r := run.Result.Shown()
	seconds := fmt.Sprintf("%.3f", time.Duration(r.Throughput.Window).Seconds())
	s := junitSuite{Name: run.Name, Time: seconds, Hostname: r.Env.Host}
	if !r.Started.IsZero() {
		s.Timestamp = r.Started.UTC().Format("2006-01-02T15:04:05")
	}
	for _, f := range r.Facts() {
		s.Properties = append(s.Properties, junitValue{f[0], f[1]})
	}
	safety := junitCase{Class: run.Name, Name: "safety", Time: "0"}
	switch {
	case r.Voided:
		safety.Failure = &junitWords{"safety violated: " + r.SafetyWords(), strings.Join(r.Safety.Details, "\n")}
	case r.Safety.Verdict == result.Unchecked:
		safety.Skipped = &junitWords{Message: "not checked"}
	}
	validity := junitCase{Class: run.Name, Name: "validity", Time: "0"}
	if r.Validity.Verdict == result.Invalid {
		validity.Error = &junitWords{"the measurement is invalid", strings.Join(r.Validity.Reasons, "\n")}
	}
	s.Cases = append(s.Cases, safety, validity)
	for _, c := range objectives(r, run.Result) {
		c.Class, c.Time = run.Name, seconds
		s.Cases = append(s.Cases, c)
	}
	for i := range s.Cases {
		s.Tests++
		switch c := &s.Cases[i]; {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	return s
}

// objectives are the cases of a run's objectives; those of a voided run are only asked for in the recorded settings.
func objectives(shown, recorded *result.Result) (cases []junitCase) {
	if shown.Voided {
		texts := recorded.Config.SLOs
		if len(texts) == 0 {
			for _, o := range recorded.SLOs {
				texts = append(texts, o.Text)
			}
		}
		for _, text := range texts {
			cases = append(cases, junitCase{Name: text, Skipped: &junitWords{Message: "safety was violated"}})
		}
		return cases
	}
	for _, o := range shown.SLOs {
		c := junitCase{Name: o.Text}
		switch {
		case shown.Validity.Verdict == result.Invalid:
			c.Skipped = &junitWords{Message: "the measurement is invalid"}
		case !o.Met:
			c.Failure = &junitWords{Message: "missed: measured " + o.Shown()}
		}
		cases = append(cases, c)
	}
	return cases
}
