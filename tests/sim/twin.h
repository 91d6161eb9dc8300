// Other names for the simulated store, so that one program can hold it and the real one (differ.cpp). Included before store/store.h.
#pragma once

#define store_open twin_open
#define store_close twin_close
#define store_reopen twin_reopen
#define store_epoch twin_epoch
#define store_rev twin_rev
#define store_load twin_load
#define store_submit twin_submit
#define store_is_crowded twin_is_crowded
#define store_is_nearly_full twin_is_nearly_full
#define store_has_work twin_has_work
#define store_wants_turn twin_wants_turn
#define store_turn twin_turn
#define store_read twin_read
#define store_write_now twin_write_now
#define store_read_now twin_read_now
