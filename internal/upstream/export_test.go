package upstream

// Meaning is meaning, for the fuzz test.
var Meaning = meaning
