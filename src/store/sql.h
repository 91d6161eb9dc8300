// Every SQL statement of the store that is kept prepared, as rows of one table: db.h makes the enum Sql of it, db.cpp prepares one when a
// connection first needs it. Parameters are numbered; columns of a row come in the order that rows.cpp reads.
#pragma once

#define SQL_MESSAGE "x.id, x.rev, x.room, x.sender, x.time, x.edited, x.deleted, x.reply, x.text, x.nonce, x.mentions"
#define SQL_USER "u.id, u.rev, u.name, u.display_name, u.status, u.role, u.created, u.warnings, u.blocked, u.deleted"
#define SQL_ROOM "r.id, r.rev, r.kind, r.name, r.topic, r.private, r.archived, r.owner"
#define SQL_MEMBER "m.rev, m.room, m.user, m.seen, m.gone"
#define SQL_NEWEST(room) "(SELECT ifnull(max(id), 0) FROM messages WHERE room = " room ")"

#define CB_SQL(X) \
    /* transactions */ \
    X(begin_write,      "BEGIN IMMEDIATE") \
    X(begin_read,       "BEGIN") \
    X(commit,           "COMMIT") \
    X(rollback,         "ROLLBACK") \
    X(savepoint,        "SAVEPOINT operation") \
    X(savepoint_end,    "RELEASE operation") \
    X(savepoint_undo,   "ROLLBACK TO operation") \
    X(meta_get,         "SELECT value FROM meta WHERE key = ?1") \
    X(meta_set,         "UPDATE meta SET value = ?2 WHERE key = ?1") \
    X(rev_get,          "SELECT value FROM meta WHERE key = 'rev'") \
    X(rev_set,          "UPDATE meta SET value = ?1 WHERE key = 'rev'") \
    /* users */ \
    X(user_add,         "INSERT INTO users (id, rev, name, name_key, role, created, password) VALUES (" \
                        "(SELECT ifnull(max(id), 0) + 1 FROM users), ?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name_key) DO NOTHING") \
    X(user_get,         "SELECT " SQL_USER " FROM users u WHERE u.id = ?1") \
    X(user_profile,     "UPDATE users SET rev = ?2, display_name = ?3, status = ?4 WHERE id = ?1") \
    X(user_password,    "UPDATE users SET password = ?2 WHERE id = ?1 AND deleted = 0 AND (?3 = '' OR password = ?3)") \
    X(user_role,        "UPDATE users SET rev = ?2, role = ?3 WHERE id = ?1") \
    X(user_fault,       "UPDATE users SET warnings = ?2, blocked = ?3 WHERE id = ?1") \
    X(user_delete,      "UPDATE users SET rev = ?2, deleted = 1, display_name = '', status = '', password = '', role = 0 WHERE id = ?1") \
    X(user_members,     "SELECT room, seen FROM members WHERE user = ?1 AND gone = 0 ORDER BY rev") \
    X(admin_get,        "SELECT id FROM users WHERE role = 2 AND deleted = 0 LIMIT 1") \
    X(invite_get,       "SELECT role FROM invites WHERE token_hash = ?1") \
    X(invite_remove,    "DELETE FROM invites WHERE token_hash = ?1") \
    X(invites_clear,    "DELETE FROM invites WHERE role = 2") \
    X(invite_add,       "INSERT OR REPLACE INTO invites (token_hash, role) VALUES (?1, 2)") \
    /* sessions */ \
    X(session_add,      "INSERT INTO sessions (user, token_hash, created, last_used, agent, address) VALUES (?1, ?2, ?3, ?3, ?4, ?5)") \
    X(sessions_trim,    "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user = ?1 AND id <> ?2 " \
                        "ORDER BY last_used DESC, id DESC LIMIT -1 OFFSET ?3) RETURNING id") \
    X(sessions_others,  "DELETE FROM sessions WHERE user = ?1 AND id <> ?2 RETURNING id") \
    X(session_end,      "DELETE FROM sessions WHERE id = ?1 AND (user = ?2 OR ?2 = 0)") \
    X(session_touch,    "UPDATE sessions SET last_used = ?2, created = iif(created = 0, ?2, created) WHERE id = ?1 AND last_used < ?2") \
    /* rooms and members */ \
    X(room_add,         "INSERT INTO rooms (id, rev, kind, name, name_key, topic, private, owner) VALUES (" \
                        "(SELECT max(id) + 1 FROM rooms), ?1, 0, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name_key) WHERE name_key IS NOT NULL DO NOTHING") \
    X(room_get,         "SELECT " SQL_ROOM ", (SELECT gone = 0 FROM members WHERE room = r.id AND user = ?2) FROM rooms r WHERE r.id = ?1") \
    X(rooms_owned,      "SELECT count(*) FROM rooms WHERE owner = ?1") \
    X(rooms_joined,     "SELECT count(*) FROM members WHERE user = ?1 AND gone = 0") \
    X(room_name_taken,  "SELECT 1 FROM rooms WHERE name_key = ?2 AND id <> ?1") \
    X(room_rename,      "UPDATE rooms SET name = ?2, name_key = ?3 WHERE id = ?1") \
    X(room_change,      "UPDATE rooms SET rev = ?2, topic = ?3, archived = ?4 WHERE id = ?1") \
    X(member_put,       "INSERT INTO members (room, user, rev, seen) VALUES (?1, ?2, ?3, " SQL_NEWEST("?1") ") " \
                        "ON CONFLICT DO UPDATE SET rev = excluded.rev, seen = excluded.seen, gone = 0 RETURNING seen") \
    X(member_get,       "SELECT " SQL_MEMBER " FROM members m WHERE m.room = ?1 AND m.user = ?2") \
    X(member_leave,     "UPDATE members SET rev = ?3, gone = 1 WHERE room = ?1 AND user = ?2") \
    X(mark,             "UPDATE members SET seen = ?3 WHERE room = ?1 AND user = ?2 AND gone = 0 AND seen < ?3") \
    /* messages */ \
    X(post_check,       "SELECT u.blocked OR u.deleted, r.archived, m.gone FROM users u LEFT JOIN rooms r ON r.id = ?2 " \
                        "LEFT JOIN members m ON m.room = ?2 AND m.user = ?1 WHERE u.id = ?1") \
    X(reply_check,      "SELECT 1 FROM messages WHERE id = ?1 AND room = ?2") \
    X(message_add,      "INSERT INTO messages (id, rev, room, sender, time, reply, nonce, mentions, text) VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) " \
                        "ON CONFLICT (nonce, sender) WHERE nonce IS NOT NULL DO NOTHING") \
    X(message_by_nonce, "SELECT " SQL_MESSAGE " FROM messages x WHERE x.sender = ?1 AND x.nonce = ?2") \
    X(message_judge,    "SELECT " SQL_MESSAGE ", r.archived, r.owner, m.gone, u.blocked OR u.deleted, u.role FROM messages x JOIN rooms r ON r.id = x.room " \
                        "LEFT JOIN members m ON m.room = x.room AND m.user = ?2 LEFT JOIN users u ON u.id = ?2 WHERE x.id = ?1") \
    X(message_edit,     "UPDATE messages SET rev = ?2, edited = ?3, text = ?4, mentions = ?5 WHERE id = ?1") \
    X(message_delete,   "UPDATE messages SET rev = ?2, deleted = ?3, edited = 0, text = '', mentions = NULL WHERE id = ?1") \
    /* reading */ \
    X(page_down,        "SELECT " SQL_MESSAGE " FROM messages x WHERE x.room = ?1 AND x.id <= ?2 ORDER BY x.id DESC LIMIT ?3") \
    X(page_up,          "SELECT " SQL_MESSAGE " FROM messages x WHERE x.room = ?1 AND x.id > ?2 AND x.id <= ?3 ORDER BY x.id LIMIT ?4") \
    X(page_any,         "SELECT 1 FROM messages WHERE room = ?1 AND id > ?2 AND id <= ?3 LIMIT 1") \
    X(since_posted,     "SELECT " SQL_MESSAGE " FROM messages x WHERE x.id > ?1 AND x.id <= ?3 AND x.rev = x.id ORDER BY x.id LIMIT ?2") \
    X(since_changed,    "SELECT " SQL_MESSAGE " FROM messages x WHERE x.rev > ?1 AND x.rev <> x.id ORDER BY x.rev LIMIT ?2") \
    X(since_users,      "SELECT " SQL_USER " FROM users u WHERE u.rev > ?1 ORDER BY u.rev LIMIT ?2") \
    X(since_rooms,      "SELECT " SQL_ROOM " FROM rooms r WHERE r.rev > ?1 ORDER BY r.rev LIMIT ?2") \
    X(since_members,    "SELECT " SQL_MEMBER " FROM members m WHERE m.rev > ?1 ORDER BY m.rev LIMIT ?2") \
    X(since_my_members, "SELECT " SQL_MEMBER " FROM members m WHERE m.user = ?3 AND m.rev > ?1 ORDER BY m.rev LIMIT ?2") \
    X(unread_count,     "SELECT count(*) FROM (SELECT 1 FROM messages WHERE room = ?1 AND id > ?2 AND sender <> ?3 AND deleted = 0 LIMIT ?4)") \
    X(unread_mentions,  "SELECT mentions FROM messages WHERE room = ?1 AND id > ?2 AND mentions IS NOT NULL AND sender <> ?3 " \
                        "ORDER BY id DESC LIMIT ?4") \
    X(waiting_posted,   "SELECT count(*) FROM (SELECT 1 FROM messages WHERE room = ?1 AND id > ?2 LIMIT ?3)") \
    X(waiting_changed,  "SELECT room FROM messages WHERE rev > ?1 AND rev <> id AND id <= ?1 LIMIT ?2") \
    X(authors,          "SELECT sender FROM messages WHERE room = ?1 AND id > ?2 AND id <= ?3 ORDER BY id DESC LIMIT 100") \
    X(sessions_of,      "SELECT id, user, token_hash, created, last_used, agent, address FROM sessions WHERE user = ?1 ORDER BY last_used DESC") \
    X(password_of,      "SELECT password FROM users WHERE id = ?1 AND deleted = 0") \
    X(load_users,       "SELECT " SQL_USER ", u.name_key FROM users u ORDER BY u.id") \
    X(load_rooms,       "SELECT " SQL_ROOM ", r.name_key, " SQL_NEWEST("r.id") " FROM rooms r ORDER BY r.id") \
    X(load_members,     "SELECT " SQL_MEMBER " FROM members m WHERE m.gone = 0 ORDER BY m.room, m.user") \
    X(load_sessions,    "SELECT id, user, token_hash, created, last_used, '', '' FROM sessions ORDER BY id")
