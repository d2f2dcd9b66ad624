//go:build !linux

package load

func newAlarm(wake func()) alarm { return newTimer(wake) }
