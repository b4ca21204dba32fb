package gate

// heal puts back what this replica knows and Redis may have forgotten: the records of its running executions. Results
// that it answered with are not put back yet; their place is here, behind the renewals. Waiting flights look again,
// since the record that they wait for may be gone. It is repeated until Redis has answered for all.
func (b *bucket) heal() (healed bool) {
	b.flights.rouseAll()
	return b.renew(0)
}
