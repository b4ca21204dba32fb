package redis

// DriveClock is for the tests, which don't wait for the embedded store's own tick.
var DriveClock = driveClock
