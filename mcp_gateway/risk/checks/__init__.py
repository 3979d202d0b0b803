"""What each rule looks at, by subject; the table of rules says in which order."""
