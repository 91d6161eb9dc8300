# What the first ChatterBox was, in essence, as a peer of `make bench`: FastAPI on uvicorn, SQLite as it comes (rollback journal,
# full sync) with one commit for each message on the event loop, then the message to each reader in turn, as JSON made anew.
#   peer-original.py PAGE_BYTES DATABASE      Prints `listening on http://127.0.0.1:PORT`.
import json
import socket
import sqlite3
import sys
import time

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse

page = "." * int(sys.argv[1])
database = sqlite3.connect(sys.argv[2])
database.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, sender TEXT, text TEXT, time REAL)")
database.commit()
app = FastAPI()
readers = []


@app.get("/login", response_class=HTMLResponse)
async def login():
    return page


@app.websocket("/")
async def chat(reader: WebSocket):
    await reader.accept()
    readers.append(reader)
    try:
        while True:
            message = json.loads(await reader.receive_text())
            added = database.execute("INSERT INTO messages (sender, text, time) VALUES (?, ?, ?)", ("somebody", message["text"], time.time()))
            database.commit()
            message["id"] = added.lastrowid
            for other in list(readers):
                await other.send_json(message)
    except WebSocketDisconnect:
        pass
    finally:
        if reader in readers:
            readers.remove(reader)


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
print("listening on http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
