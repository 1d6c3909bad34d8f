//go:build !linux

package main

// machineMemory is not known here: the engine's own limits hold.
func machineMemory() int64 { return 0 }
