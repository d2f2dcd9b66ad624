//go:build race

package wal

// stride: the race detector makes an enumeration take twenty times as long, and there are no goroutines in it to race: it
// takes every so many operations and bytes.
const stride = 23
