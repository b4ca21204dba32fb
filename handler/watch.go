package handler

import (
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/redis"
)

// Watch is what a person, or a program that draws for one, may look at while a gateway runs.
type Watch struct {
	Gate    *gate.Gate
	Store   *redis.Store
	Took    *gate.AnswerTimes
	Replica string // this process' name

	Ready func() error // whether webhooks are served
}

// Watch returns that.
func (g *Gateway) Watch() Watch {
	return Watch{Gate: g.gate, Store: g.store, Took: &g.handler.took, Replica: processName(), Ready: g.handler.served}
}
