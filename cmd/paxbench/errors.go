package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Exit codes: the contract of the command line.
const (
	exitOK          = 0
	exitRuntime     = 1
	exitUsage       = 2
	exitSLO         = 3
	exitRegression  = 4
	exitViolated    = 5
	exitInvalid     = 6
	exitInterrupted = 130
)

// codeError is an error with an exit code of its own. A nil err exits without a message: the report has said it.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// usagef is a mistake of the caller: exit 2.
func usagef(format string, args ...any) error {
	return &codeError{exitUsage, fmt.Errorf(format, args...)}
}

// exitCode gives the code of an error from a command. ran says that the command line was understood.
func exitCode(err error, ran bool) int {
	var coded *codeError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case !ran:
		return exitUsage
	}
	return exitRuntime
}

// didYouMean names the known words that begin with what was typed, or the one nearest to it; "" if none is near.
func didYouMean(typed string, known []string) string {
	var longer []string
	for _, word := range known {
		if len(typed) > 2 && len(longer) < 3 && strings.HasPrefix(word, strings.ToLower(typed)) {
			longer = append(longer, strconv.Quote(word))
		}
	}
	if len(longer) > 0 {
		return "; did you mean " + strings.Join(longer, " or ") + "?"
	}
	best, at := "", len(typed)/2+1
	for _, word := range known {
		if d := distance(strings.ToLower(typed), strings.ToLower(word)); d < at {
			best, at = word, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of letters to insert, delete, replace or swap with a neighbour to make b of a (Damerau's, in
// its restricted form).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
