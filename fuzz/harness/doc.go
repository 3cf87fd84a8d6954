// Package harness breaks logs in every way that a machine may break them, and checks that nothing
// that was promised is gone.
package harness
