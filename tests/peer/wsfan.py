#!/usr/bin/env python3
"""wsfan.py BASE_URL CLIENTS STATUSFILE: event-socket clients that subscribe to every topic
of 3 and of 5 parts (builds/N/new, builders/N/builds/N/new ...) and count what arrives."""

import asyncio
import json
import os
import sys
import aiohttp

url, n, st = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PATHS = os.environ.get("FAN_PATHS", "*/*/* */*/*/*/*").split()
C = {"events": 0, "bytes": 0, "acks": 0, "lost": 0, "topics": {}}


async def client(sess, i):
    async with sess.ws_connect(url.replace("http", "ws") + "/ws", max_msg_size=0) as ws:
        for k, p in enumerate(PATHS):
            await ws.send_str(json.dumps({"cmd": "startConsuming", "path": p, "_id": k}))
        async for msg in ws:
            if msg.type != aiohttp.WSMsgType.TEXT:
                break
            if msg.data[:4] == '{"k"':
                C["events"] += 1
                C["bytes"] += len(msg.data)
                if i == 0:
                    k = json.loads(msg.data)["k"]
                    k = "/".join("#" if x.isdigit() else x for x in k.split("/"))
                    C["topics"][k] = C["topics"].get(k, 0) + 1
            else:
                C["acks"] += 1
    C["lost"] += 1


async def main():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as sess:
        # Held here: the loop itself keeps no task alive.
        kept = [asyncio.create_task(client(sess, i)) for i in range(n)]
        while kept:
            await asyncio.sleep(0.25)
            if C["acks"] >= n * len(PATHS):
                with open(st + ".t", "w") as f:
                    json.dump(C, f)
                os.replace(st + ".t", st)


asyncio.run(main())
