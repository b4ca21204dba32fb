package redis

// DriveClock lets tests advance the embedded store's time faster than its own tick.
var DriveClock = driveClock
