package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/pflag"
)

// Every setting of a command is one flag; the environment (PAXBENCH_ and the flag's name in capitals) and the
// configuration file (the flag's name as the key) set the same flags. So there is one parser, one validation and
// one list of names: flags > environment > file > defaults.

const envPrefix = "PAXBENCH_"

// notSettings are flags about the command line itself.
var notSettings = map[string]bool{"help": true, "config": true, "print-config": true}

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// sources says where the value of a flag came from, for --print-config and for messages.
type sources map[string]string

// resolve fills the flags that were not given on the command line from the environment and the file.
func resolve(flags *pflag.FlagSet, environ []string, configFile string) (sources, error) {
	from := sources{}
	flags.Visit(func(f *pflag.Flag) { from[f.Name] = "flag" })
	if err := fromEnv(flags, environ, from); err != nil {
		return nil, err
	}
	if configFile != "" {
		if err := fromFile(flags, configFile, from); err != nil {
			return nil, err
		}
	}
	return from, nil
}

func fromEnv(flags *pflag.FlagSet, environ []string, from sources) error {
	values := map[string]string{}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, envPrefix) {
			values[name] = value
		}
	}
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		value, ok := values[envName(f.Name)]
		if !ok || notSettings[f.Name] || from[f.Name] != "" || failed != nil {
			return
		}
		set := []string{value}
		if _, list := f.Value.(pflag.SliceValue); list {
			set = strings.Split(value, ",")
		}
		if err := setAll(f, set); err != nil {
			failed = usagef("environment variable %s: %v", envName(f.Name), err)
		}
		from[f.Name] = "environment"
	})
	return failed
}

func setAll(f *pflag.Flag, values []string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		if err := list.Replace(values); err != nil {
			return err
		}
	} else if err := f.Value.Set(values[0]); err != nil {
		return err
	}
	f.Changed = true
	return nil
}

// unknownEnv lists PAXBENCH_ variables that no command knows, with the nearest name. They are warned of, not
// refused: the environment is often not the user's own.
func unknownEnv(environ []string, known []string) []string {
	var warnings []string
	names := map[string]bool{}
	for i, name := range known {
		known[i] = envName(name)
		names[known[i]] = true
	}
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !names[name] {
			warnings = append(warnings, fmt.Sprintf("environment variable %s is ignored: no such setting%s", name, didYouMean(name, known)))
		}
	}
	sort.Strings(warnings)
	return warnings
}

// fromFile reads a YAML mapping of settings. A key that is not a setting of this command is refused with its line.
func fromFile(flags *pflag.FlagSet, path string, from sources) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return usagef("configuration file: %v", err)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return usagef("configuration file %s: %v", path, err)
	}
	for _, doc := range file.Docs {
		pairs, err := pairsOf(doc.Body)
		if err != nil {
			return usagef("configuration file %s: %v", path, err)
		}
		for _, pair := range pairs {
			if err := fromPair(flags, pair, from); err != nil {
				return usagef("configuration file %s, line %d: %v", path, pair.Key.GetToken().Position.Line, err)
			}
		}
	}
	return nil
}

func pairsOf(body ast.Node) ([]*ast.MappingValueNode, error) {
	switch n := body.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return nil, nil
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	}
	return nil, fmt.Errorf("it must be a mapping of settings, as in 'nodes: 3'")
}

func fromPair(flags *pflag.FlagSet, pair *ast.MappingValueNode, from sources) error {
	key := pair.Key.GetToken().Value
	f := flags.Lookup(key)
	if f == nil || notSettings[key] {
		return fmt.Errorf("unknown setting %q%s", key, didYouMean(key, settingNames(flags)))
	}
	values, err := valuesOf(pair.Value)
	if err != nil {
		return fmt.Errorf("%s: %v", key, err)
	}
	if _, list := f.Value.(pflag.SliceValue); !list && len(values) != 1 {
		return fmt.Errorf("%s: it takes one value", key)
	}
	if from[key] == "flag" || from[key] == "environment" {
		return nil
	}
	if from[key] == "file" {
		return fmt.Errorf("%s: set twice", key)
	}
	from[key] = "file"
	if err := setAll(f, values); err != nil {
		return fmt.Errorf("%s: %v", key, err)
	}
	return nil
}

func valuesOf(node ast.Node) ([]string, error) {
	switch n := node.(type) {
	case *ast.SequenceNode:
		values := []string{}
		for _, item := range n.Values {
			one, err := valuesOf(item)
			if err != nil {
				return nil, err
			}
			values = append(values, one...)
		}
		return values, nil
	case *ast.MappingNode, *ast.MappingValueNode, *ast.AliasNode, *ast.AnchorNode, *ast.TagNode, *ast.NullNode:
		return nil, fmt.Errorf("it takes a value or a list of values")
	case *ast.LiteralNode:
		return []string{strings.TrimSpace(n.Value.Value)}, nil
	}
	return []string{node.GetToken().Value}, nil
}

func settingNames(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !notSettings[f.Name] && !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// printConfig writes the effective settings as a configuration file, each with where it came from, and what comes of one that
// leaves the choice to the program.
func printConfig(w io.Writer, flags *pflag.FlagSet, from sources) error {
	for _, name := range settingNames(flags) {
		f := flags.Lookup(name)
		origin := from[name]
		if origin == "" {
			origin = "default"
		}
		if e, ok := f.Value.(interface{ effective() string }); ok {
			origin += "; in effect: " + e.effective()
		}
		value := quoteYAML(f.Value.String())
		if list, ok := f.Value.(pflag.SliceValue); ok {
			quoted := list.GetSlice()
			for i := range quoted {
				quoted[i] = quoteYAML(quoted[i])
			}
			value = "[" + strings.Join(quoted, ", ") + "]"
		}
		if _, err := fmt.Fprintf(w, "%s: %s # %s\n", name, value, origin); err != nil {
			return err
		}
	}
	return nil
}

// quoteYAML quotes what YAML might not read back as the same text.
func quoteYAML(value string) string {
	plain := value != "" && strings.IndexFunc(value, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("./_-+", r))
	}) < 0
	if plain {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", "''") + "'"
}
