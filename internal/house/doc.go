// Package house holds the tests that keep the rules of the whole module: which package may import
// which, and that what the README says is what is run.
package house
