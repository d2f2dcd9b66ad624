// Package result is a recorded run: its JSON form (the contract of `paxbench --format json`, schema_version 1), and the
// reports made of it - text for people, Markdown for a CI summary, and the Go benchmark format for benchstat.
//
// All writers keep two rules. A run that violated safety has no performance numbers: they are replaced by what was
// found. An invalid run shows its numbers, and says before them why they must not be used.
package result
