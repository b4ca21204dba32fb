// Fiber is Fiber's own idempotency middleware on its own Redis storage, as its documentation shows it. It wants a key of
// 36 characters in a header: a handler before it makes a UUID of the fingerprint.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/idempotency"
	"github.com/gofiber/storage/redis/v3"
)

type webhook struct {
	DialogID  string          `json:"dialogId"`
	NodeID    string          `json:"nodeId"`
	Sequence  json.Number     `json:"sequence"`
	Variables json.RawMessage `json:"variables"`
}

type result struct {
	Processed bool            `json:"processed"`
	DialogID  string          `json:"dialogId"`
	NodeID    string          `json:"nodeId"`
	Timestamp int64           `json:"timestamp"` // a random number in its place: each execution is told from every other
	Updated   json.RawMessage `json:"variables_updated"`
}

const keyHeader = "X-Idempotency-Key"

func main() {
	delay, err := time.ParseDuration(os.Getenv("DELAY"))
	if err != nil {
		log.Fatal(err)
	}
	host, portText, err := net.SplitHostPort(os.Getenv("REDIS_ADDRESS"))
	if err != nil {
		log.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		log.Fatal(err)
	}
	app := fiber.New()
	app.Use(name)
	app.Use(idempotency.New(idempotency.Config{
		Storage: redis.New(redis.Config{Host: host, Port: port}), Lifetime: time.Hour,
	}))
	app.Post("/webhook/cognigy", func(c fiber.Ctx) error {
		time.Sleep(delay)
		hook := c.Locals("webhook").(webhook)
		data, err := json.Marshal(result{true, hook.DialogID, hook.NodeID, 1e9 + rand.Int64N(9e9), hook.Variables})
		if err != nil {
			return err
		}
		c.Set("Content-Type", "application/json")
		return c.SendString(`{"status":"success","data":` + string(data) + `,"fingerprint":"` + c.Locals("key").(string) + `"}`)
	})
	log.Fatal(app.Listen(os.Getenv("LISTEN"), fiber.ListenConfig{DisableStartupMessage: true}))
}

// name checks a webhook and gives it its key.
func name(c fiber.Ctx) error {
	var hook webhook
	if err := json.Unmarshal(c.Body(), &hook); err != nil || hook.DialogID == "" || hook.NodeID == "" || hook.Sequence == "" {
		return c.SendStatus(fiber.StatusBadRequest)
	}
	sum := sha256.Sum256([]byte(hook.DialogID + ":" + hook.NodeID + ":" + hook.Sequence.String()))
	digits := hex.EncodeToString(sum[:])
	c.Locals("webhook", hook)
	c.Locals("key", "cognigy:fp:"+digits)
	c.Request().Header.Set(keyHeader,
		digits[:8]+"-"+digits[8:12]+"-"+digits[12:16]+"-"+digits[16:20]+"-"+digits[20:32])
	return c.Next()
}
