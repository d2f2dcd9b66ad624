package main

import (
	"github.com/spf13/cobra"
)

// configFlags gives a command the two sources of settings besides its flags, and runs it with all of them in place.
func configFlags(cmd *cobra.Command, a *app, file *string, printOnly *bool, run func() error) {
	cmd.Flags().StringVar(file, "config", "", "YAML file of settings, one 'flag-name: value' per line")
	cmd.Flags().BoolVar(printOnly, "print-config", false, "print the effective settings as a --config file and end")
	cmd.Flags().SortFlags = false
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *file == "" {
			*file = a.getenv(envName("config"))
		}
		from, err := resolve(cmd.Flags(), a.environ, *file)
		if err != nil {
			return err
		}
		if err := checkBounds(cmd.Flags()); err != nil {
			return err
		}
		if *printOnly {
			a.begin()
			return printConfig(a.out, cmd.Flags(), from)
		}
		return run()
	}
}
