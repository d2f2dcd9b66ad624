//go:build !planted || !linux

package engine

func busyWait() {}
