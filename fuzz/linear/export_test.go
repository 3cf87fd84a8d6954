package linear

// CheckAsIs is Check without narrowing.
var CheckAsIs = check
