// Package sqltest tests projections whose models are in SQL databases, on real ones: SQLite always, and PostgreSQL
// where its programs are installed. It is a module of its own, so that the engine's has no driver.
package sqltest
