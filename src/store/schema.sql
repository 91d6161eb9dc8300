-- The database, as steps in order; `user_version` is the number of the last one that was run. A step that was once released is never changed,
-- a new one is added below. The store runs the steps that a database still lacks in one transaction (migrate.cpp), after making a copy of it.
--
-- What can change keeps its row for ever, with the rev of its last change: messages (deleted ones as tombstones), users, rooms, memberships
-- (left ones). So the changes since any rev are found by the indexes on rev, and each row is in its present state (reader.cpp).
-- Names of kinds and roles as numbers: the enums of store.h.

-- migration 1
PRAGMA application_id = 1128809048; -- "CHBX": that the file is ours

CREATE TABLE meta (
    key TEXT PRIMARY KEY,   -- rev: of the newest change; epoch: '' in a backup; clean: 0 while a server at durability normal has it open
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    rev INTEGER NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL, -- folded; a deleted user keeps it, so a name is never given again
    display_name TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT '',
    role INTEGER NOT NULL,
    created INTEGER NOT NULL,
    warnings INTEGER NOT NULL DEFAULT 0,
    blocked INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    password TEXT NOT NULL  -- the Argon2id string; '' lets nobody in
) STRICT;
CREATE UNIQUE INDEX users_name ON users (name_key);
CREATE UNIQUE INDEX users_rev ON users (rev);
CREATE INDEX users_admins ON users (id) WHERE role = 2 AND deleted = 0;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: what still holds the id of an ended session must not meet another one
    user INTEGER NOT NULL,
    token_hash BLOB NOT NULL,
    created INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    agent TEXT NOT NULL,
    address TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user, last_used);
CREATE UNIQUE INDEX sessions_token ON sessions (token_hash);

CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    rev INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT,          -- null: its name need not be unique (a direct room)
    topic TEXT NOT NULL,
    private INTEGER NOT NULL,
    archived INTEGER NOT NULL DEFAULT 0,
    owner INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX rooms_name ON rooms (name_key) WHERE name_key IS NOT NULL;
CREATE UNIQUE INDEX rooms_rev ON rooms (rev);
CREATE INDEX rooms_owner ON rooms (owner);

CREATE TABLE members (
    room INTEGER NOT NULL,
    user INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    gone INTEGER NOT NULL DEFAULT 0, -- has left
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX members_rev ON members (rev);
CREATE INDEX members_user ON members (user, rev);

CREATE TABLE messages (
    id INTEGER PRIMARY KEY, -- the rev it was made at
    rev INTEGER NOT NULL,
    room INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    time INTEGER NOT NULL,
    edited INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    reply INTEGER NOT NULL,
    nonce BLOB,
    mentions BLOB,          -- user ids, 8 bytes each, little endian; null: none
    text TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_nonce ON messages (sender, nonce) WHERE nonce IS NOT NULL;
-- Pages of a room go by its first two columns; unread messages are counted without touching the table.
CREATE INDEX messages_room ON messages (room, id, sender, deleted);
CREATE INDEX messages_mentions ON messages (room, id) WHERE mentions IS NOT NULL;
CREATE UNIQUE INDEX messages_changed ON messages (rev) WHERE rev <> id;

CREATE TABLE invites (
    token_hash BLOB PRIMARY KEY,
    role INTEGER NOT NULL   -- what the invited user becomes
) STRICT, WITHOUT ROWID;

INSERT INTO rooms (id, rev, kind, name, name_key, topic, private, owner) VALUES (1, 1, 0, 'Lobby', 'lobby', '', 0, 0);
INSERT INTO meta VALUES ('rev', 1), ('epoch', ''), ('clean', 1);

-- migration 2
-- Nonces begin with what grows (see the page), so those of all senders that are new lie beside each other: a commit of many people's messages changes
-- a page or two of this index, where (sender, nonce) took a page for each of them.
DROP INDEX messages_nonce;
CREATE UNIQUE INDEX messages_nonce ON messages (nonce, sender) WHERE nonce IS NOT NULL;
