package watch_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/dashboard"
	"github.com/oncegate/oncegate/internal/redistest"
)

// state returns what a replica's dashboard shows.
func (r *replica) state() (s dashboard.State) {
	r.t.Helper()
	return r.stateOf("")
}

// stateOf returns the state as far as it is about a tenant.
func (r *replica) stateOf(tenant string) (s dashboard.State) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.get("/state?tenant="+tenant)), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func TestEveryReplicaShowsTheWhole(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var replicas []*replica
	for range 3 {
		replicas = append(replicas, start(t, logic.Echo{}, func(c *config.Config) {
			c.Redis.URL = config.Secret(server.URL())
		}))
	}
	for i, r := range replicas {
		r.storm("storm", 10*(i+1))
	}
	for i, r := range replicas {
		eventually(t, "a replica shows all deliveries and all replicas", func() bool {
			s := r.state()
			var deliveries, executions int64
			for _, second := range s.Seconds {
				deliveries, executions = deliveries+second[1], executions+second[2]
			}
			return deliveries == 60 && executions == 1 && s.Window == (dashboard.Totals{Deliveries: 60, Executions: 1}) &&
				len(s.Replicas) == 3
		})
		if s := r.state(); s.Verdicts[0].Level != dashboard.Well {
			t.Errorf("replica %d says %v", i, s.Verdicts)
		}
	}

	replicas[2].stop()
	eventually(t, "one that has said goodbye is not gone, but not there", func() bool {
		s := replicas[0].state()
		return len(s.Replicas) == 2 && s.Verdicts[0].Level == dashboard.Well
	})
	if s := replicas[1].state(); s.Window.Deliveries != 60 {
		t.Errorf("what it did is not shown any more: %v", s.Window)
	}
}

func TestAReplicaThatFallsSilentIsShownAsGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := start(t, logic.Echo{}, func(c *config.Config) { c.Redis.URL = config.Secret(server.URL()) })
	client := redistest.Client(t, server.Addr())
	redistest.Do(t, client, "SET", "cognigy:replica:SILENT", `{"id":"SILENT","name":"gateway-7/1","wrote":1}`)
	eventually(t, "it is gone", func() bool {
		redistest.Do(t, client, "ZADD", "cognigy:replicas", "9999999999999", "SILENT")
		s := r.state()
		return len(s.Replicas) == 2 && s.Replicas[1].Health == "gone" && s.Verdicts[0].Alert == "OncegateReplicaGone"
	})
}

func TestADeliveryCountsWhenItArrives(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	r := start(t, logic.Func(func(context.Context, logic.Webhook) (logic.Result, error) {
		<-release
		return logic.JSON(true)
	}), func(*config.Config) {})
	ended := make(chan struct{})
	go func() { defer close(ended); r.storm("slow", 30) }()
	eventually(t, "those that wait are shown", func() bool {
		s := r.state()
		return s.Window == (dashboard.Totals{Deliveries: 30, Executions: 1}) && s.Waiting == 30 && s.Executing == 1 &&
			s.OldestMS > 0
	})
	close(release)
	<-ended
	eventually(t, "and counted once", func() bool { return r.state().Waiting == 0 })
	if s := r.state(); s.Window.Deliveries != 30 {
		t.Errorf("after they were answered there are %d", s.Window.Deliveries)
	}
}

// TestWhatOthersWriteIsNotTrusted: another program, or another version, may write anything there.
func TestWhatOthersWriteIsNotTrusted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := start(t, logic.Echo{}, func(c *config.Config) { c.Redis.URL = config.Secret(server.URL()) })
	client := redistest.Client(t, server.Addr())
	for id, text := range map[string]string{
		"a": `not JSON`, "b": `{"id":5}`,
		"c": `{"id":"c","seconds":[[-5,1],[99999999999999,7],[99999999999999,7]],"latency":{"executed":{"-1":5,"9999":5}}}`,
		"d": `{"id":"d","seconds":[]}`, "e": `{"id":"e","seconds":null,"wrote":99999999999999999}`,
	} {
		redistest.Do(t, client, "SET", "cognigy:replica:"+id, text)
		redistest.Do(t, client, "ZADD", "cognigy:replicas", "9999999999999", id)
	}
	redistest.Do(t, client, "SETRANGE", "cognigy:replica:large", "200000", "x")
	redistest.Do(t, client, "ZADD", "cognigy:replicas", "9999999999999", "large")
	eventually(t, "what is a line is shown", func() bool { return len(r.state().Replicas) == 4 })
	r.storm("after", 5)
	eventually(t, "and all else goes on", func() bool { return r.state().Window.Deliveries >= 5 })
}

// TestAWebhookWaitsForAPersonUntilOneDecides: then the page no longer lists it, and the strip no longer warns of it.
// Until then it warns, also if nobody lists it because the replica that met it has ended.
func TestAWebhookWaitsForAPersonUntilOneDecides(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	open := func() *replica {
		return start(t, logic.Func(variety), func(c *config.Config) {
			c.Redis.URL = config.Secret(server.URL())
			c.Execution.MaxAttempts, c.Upkeep.SweepInterval = 1, time.Second
		})
	}
	met, r := open(), open()
	met.post("fails", 1)
	met.post("fails", 1) // it is told that there is no second attempt
	alert := func() string { return r.state().Verdicts[0].Alert }
	eventually(t, "it waits", func() bool { return len(r.state().Judged) == 1 && alert() == "OncegatePoisoned" })
	met.stop()
	eventually(t, "nobody lists it", func() bool { return len(r.state().Judged) == 0 })
	client := redistest.Client(t, server.Addr())
	swept := func() string { return redistest.Do(t, client, "HGET", "cognigy:metrics", "swept_at") }
	for range 3 {
		before := swept()
		eventually(t, "a sweep", func() bool { return swept() != before })
		if a := alert(); a != "OncegatePoisoned" {
			t.Fatalf("it waits still, and the strip says %q", a)
		}
	}
	r.post("fails", 1)
	eventually(t, "it is listed again", func() bool { return len(r.state().Judged) == 1 })
	reply, err := http.Post(r.admin+"/webhook/"+storms("fails")+"/forget", "application/x-www-form-urlencoded", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	eventually(t, "it waits no longer", func() bool { return len(r.state().Judged) == 0 })
	eventually(t, "nor does the strip warn of it", func() bool { return alert() == "" })
}
