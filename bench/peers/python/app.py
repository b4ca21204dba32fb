"""The same as peers/nethttp in Python: FastAPI, uvicorn and redis-py, SET NX to claim, GET to replay, SET to store."""

import asyncio
import hashlib
import json
import os
import random
import socket
import sys

import redis.asyncio
import uvicorn
from fastapi import FastAPI, Request, Response
from uvicorn.supervisors import Multiprocess

LEASE = 60
RESULT_TTL = 3600
PROCESSING = b"processing"
DELAY = float(os.environ["DELAY_SECONDS"])

app = FastAPI()
store = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"])


def respond(code: int, status: str, data: bytes, key: str) -> Response:
    body = b'{"status":"%b","data":%b,"fingerprint":"%b"}' % (status.encode(), data, key.encode())
    return Response(body, status_code=code, media_type="application/json")


@app.post("/webhook/cognigy")
async def webhook(request: Request) -> Response:
    try:
        hook = json.loads(await request.body())
        identity = f'{hook["dialogId"]}:{hook["nodeId"]}:{hook["sequence"]}'
    except (ValueError, KeyError, TypeError):
        return Response(status_code=400)
    key = "cognigy:fp:" + hashlib.sha256(identity.encode()).hexdigest()
    if not await store.set(key, PROCESSING, nx=True, ex=LEASE):
        stored = await store.get(key)
        if stored == PROCESSING:
            return respond(409, "processing", b"null", key)
        return respond(200, "cached", stored, key)
    if DELAY:
        await asyncio.sleep(DELAY)
    result = {
        "processed": True,
        "dialogId": hook["dialogId"],
        "nodeId": hook["nodeId"],
        # a random number in the timestamp's place: each execution is told from every other
        "timestamp": random.randrange(10**9, 10**10),
        "variables_updated": hook.get("variables") or {},
    }
    data = json.dumps(result, separators=(",", ":")).encode()
    await store.set(key, data, ex=RESULT_TTL)
    return respond(200, "success", data, key)


if __name__ == "__main__":
    host, port = sys.argv[1], int(sys.argv[2])
    # Of a socket that does not say it is TCP, as uvicorn opens one for several workers, asyncio leaves TCP_NODELAY off:
    # every answer then waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    config = uvicorn.Config("app:app", workers=2, access_log=False, log_level="error", timeout_keep_alive=300)
    Multiprocess(config, target=uvicorn.Server(config).run, sockets=[listener]).run()
