// Fiber uses Fiber's own idempotency middleware on its own Redis storage, as its documentation shows. The middleware
// wants a key of 36 characters in a header, so a handler before it makes a UUID of the fingerprint.
package main

import (
	"log"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/idempotency"
	"github.com/gofiber/storage/redis/v3"

	"github.com/oncegate/oncegate/bench/peers/webhook"
)

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
		data, err := c.Locals("webhook").(webhook.Webhook).Execute(delay)
		if err != nil {
			return err
		}
		c.Set("Content-Type", "application/json")
		return c.SendString(`{"status":"success","data":` + string(data) + `,"fingerprint":"` + c.Locals("key").(string) +
			`"}`)
	})
	log.Fatal(app.Listen(os.Getenv("LISTEN"), fiber.ListenConfig{DisableStartupMessage: true}))
}

// name checks a webhook and sets its key.
func name(c fiber.Ctx) error {
	hook, ok := webhook.Read(c.Body())
	if !ok {
		return c.SendStatus(fiber.StatusBadRequest)
	}
	digits := hook.Digits()
	c.Locals("webhook", hook)
	c.Locals("key", "cognigy:fp:"+digits)
	c.Request().Header.Set(keyHeader,
		digits[:8]+"-"+digits[8:12]+"-"+digits[12:16]+"-"+digits[16:20]+"-"+digits[20:32])
	return c.Next()
}
