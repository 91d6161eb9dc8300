// Every bound of the server, with its reason. What PROTOCOL §4 names is the default of an option, but for uploads, which there are not yet; the others are fixed.
#pragma once

#include <stddef.h>
#include <stdint.h>

// --- HTTP (PROTOCOL §4)
constexpr size_t http_head_bytes_max = 8 * 1024;       // a request line and its headers; browsers send about 1 KiB
constexpr uint32_t http_head_ms_max = 10'000;          // a head that takes longer is a slow-loris
constexpr size_t http_body_bytes_max = 64 * 1024;      // JSON bodies; the longest is a message or a member list
constexpr uint32_t http_body_ms_max = 20'000;
constexpr size_t upload_bytes_max = 10 * 1024 * 1024;  // a file
constexpr uint32_t http_idle_ms_max = 60'000;          // keep-alive
constexpr uint32_t http_headers_max = 64;              // fields in a head; chunk trailers are not kept
constexpr size_t http_response_rest_max = 1024 * 1024; // a response waiting for a slow reader
constexpr int http_send_buffer_bytes = 64 * 1024;      // SO_SNDBUF; Linux doubles it, and would let it grow to megabytes
constexpr uint32_t http_write_ms_max = 60'000;         // a reader that takes nothing for so long is gone

constexpr uint64_t arrivals_us_max = 250;              // of a turn, for those who come, for what they ask, for who goes and for who reads what they missed, each: a thousand at once hold up no message
constexpr uint64_t newcomer_ms = 1'000;                // who went live so long ago is served with those who were there before

// --- WebSocket
constexpr size_t frame_bytes_max = 64 * 1024;          // a message from a client, inflated
constexpr uint32_t fragments_max = 16'384;             // fragments a message
constexpr size_t frame_out_bytes_max = 128 * 1024;     // a frame or page to a client
constexpr size_t asked_bytes_max = 192 * 1024;         // what the answers that the store owes one connection may hold: 600 lines under way
constexpr size_t private_queue_bytes_max = 64 * 1024 + frame_out_bytes_max + asked_bytes_max; // answers for one connection: 64 KiB, a page, those
constexpr size_t private_queue_pause_bytes = 16 * 1024;// above this its socket is not read: back-pressure
constexpr uint32_t refused_in_a_row_max = 20;          // then close 1008
constexpr uint32_t ping_idle_ms = 30'000;
constexpr uint32_t silent_ms_max = 75'000;
constexpr uint32_t stuck_ms_max = 60'000;              // took nothing although data waited: close 4003
constexpr uint32_t pings_per_turn_max = 500;
constexpr int socket_send_buffer_bytes = 14 * 1024;    // SO_SNDBUF; Linux makes twice as much of it and overshoots by one packet, 34 KB in all, and 72 at 20 KiB: a slow reader's backlog belongs in the store, not in the kernel
constexpr size_t deflate_bytes_min = 200;              // smaller frames are not worth deflating
constexpr uint32_t drain_ms_max = 2'000;               // what still arrives before a close on error
constexpr size_t drain_bytes_max = 1024 * 1024;

// --- the ring
constexpr size_t ring_bytes = 1024 * 1024;             // half a second at 7,000 messages/s; who falls behind reads the store
constexpr uint32_t ring_entries = 4096;             // a power of two; 256 bytes a frame on average fill both bounds together

// --- people and rooms
constexpr uint32_t logins_per_address_max = 60;        // a minute, over all names; for each name --login-rate
constexpr uint32_t username_chars_max = 32;
constexpr uint32_t display_name_chars_max = 64;
constexpr uint32_t status_chars_max = 100;
constexpr uint32_t password_chars_min = 8;
constexpr uint32_t password_chars_max = 128;
constexpr uint32_t room_name_chars_max = 64;
constexpr uint32_t topic_chars_max = 250;
constexpr uint32_t text_chars_max = 4000;
constexpr size_t nonce_bytes_max = 64;
constexpr size_t ref_bytes_max = 64;
constexpr uint32_t mentions_max = 50;                  // people one message can call
constexpr uint32_t rooms_made_max = 100;               // a user
constexpr uint32_t rooms_joined_max = 200;             // a user: `welcome` holds them all in one frame of frame_out_bytes_max
constexpr size_t room_list_bytes_max = 512 * 1024;     // of GET /api/rooms: one's own, then the liveliest public ones
constexpr uint32_t sessions_max = 32;                  // a user; the longest unused goes
constexpr uint32_t sessions_max_highest = 256;         // what the option can make of it: they are listed in one answer, and end with one write
constexpr uint32_t invited_at_once_max = 100;          // `members` of POST /api/rooms
constexpr uint32_t unread_max = 999;
constexpr uint32_t unread_kept = 2048;                 // counts kept in memory, 40 bytes each: who comes back needs no reading; a power of two
constexpr uint32_t unread_looks_max = 8192;            // entries of the ring looked at for one `welcome`: beyond that the store counts as fast
constexpr uint32_t seen_detail_members_max = 50;       // larger rooms: seen_by is {"*":…}
constexpr uint32_t online_names_max = 500;             // more online: a count alone

constexpr uint32_t audit_places = 64;                  // kinds of security events and addresses whose lines in the log are counted; more of them share
constexpr uint64_t audit_window_ms = 60'000;           // … for so long

// --- pages
constexpr uint32_t page_messages_default = 50;
constexpr uint32_t page_messages_max = 200;
constexpr uint32_t page_users_default = 100;
constexpr uint32_t page_users_max = 500;
constexpr uint32_t welcome_rooms_max = 20;             // history frames in a snapshot
constexpr uint32_t slice_rows_max = 1000;              // rows of one catching-up read
constexpr int64_t slice_ids_max = 4096;                // … and places of the log that it may pass over

// --- time
constexpr int64_t session_unused_ms_max = 30LL * 24 * 3600 * 1000;
constexpr uint64_t session_touch_ms = 3'600'000;       // when it was last used is written at most once in an hour
constexpr int64_t session_age_ms_max = 365LL * 24 * 3600 * 1000;
constexpr uint64_t sweep_ms = 3'600'000;               // sessions that are over leave the database so often
constexpr uint64_t sweep_again_ms = 10'000;            // … after a look in which there were more than
constexpr uint32_t sessions_swept_max = 100;           // at once
constexpr uint32_t presence_linger_ms = 10'000;        // offline when the last socket has been gone so long
constexpr uint32_t presence_gather_ms = 1'000;
constexpr uint32_t seen_gap_ms = 1'000;                // one a second for each user and room
constexpr uint32_t typing_gap_ms = 3'000;
constexpr uint32_t seen_write_ms_max = 5'000;          // marks are on disk after at most this
constexpr uint32_t marks_per_write_max = 256;          // in one operation: the loop may wait for it

// --- the store
constexpr uint32_t write_queue_max = 8192;             // operations waiting; then `unavailable` (overloaded)
constexpr uint32_t write_queue_crowded = 4096;         // from here on no WebSocket's messages are read: waiting is better than being refused
constexpr size_t write_queue_bytes_max = 24 * 1024 * 1024; // the same for what those operations hold: 1 KiB each, and long texts
constexpr size_t write_queue_bytes_crowded = 12 * 1024 * 1024;
constexpr uint32_t batch_operations_max = 1024;        // operations in one transaction
constexpr uint32_t read_queue_max = 16'384;            // one for each socket that catches up, and some
constexpr size_t reserve_bytes = 1024 * 1024;          // kept free for deletions and blocks on a full disk: 60 of them one by one where the log is long, else any number
constexpr size_t reserve_beyond_bytes = 512 * 1024;    // so much more must be free before the rest is stored again, or the next message would end it
constexpr uint32_t reserve_retry_ms = 1'000;           // asking a full disk for room costs it a sync
constexpr uint32_t hash_queue_max = 64;                // Argon2id jobs waiting; then 429
constexpr int hash_nice = 10;                          // a flood of logins gives way to messages, on one core too
constexpr uint32_t commit_inline_us_max = 1'500;       // commits faster than this in the running mean are made on the loop: on the thread one fan-out becomes two
constexpr uint32_t commit_worth_us_max = 2'000;        // … than this where a round of the readers takes as long; the loop has more to do than to wait

// --- connections (defaults; options)
constexpr uint32_t sockets_max_default = 10'000;
constexpr uint32_t sockets_per_user_max_default = 64;
constexpr uint32_t connections_per_address_max_default = 256;
constexpr uint32_t connections_refused_max = 64;         // lingering answers to those who are too many, in places beyond the limit: they never take a guest's
constexpr uint32_t connections_without_session_max = 32; // of those, for each address
constexpr size_t held_bytes_max = 64 * 1024 * 1024;      // what all connections hold: 700 of the longest frames both ways; a small machine has less (memory_bound.cpp)
constexpr size_t held_bytes_min = 8 * 1024 * 1024;
