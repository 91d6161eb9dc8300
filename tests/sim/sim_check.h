// What must hold: when the server hands a frame to the network, after each step, and when all is quiet. Single-threaded.
#pragma once

#include "sim_client.h"

void check_watch(Wire *w, std::string_view bytes); // net_sim_watch
void check_step();
void check_quiet();                        // everybody who can be connected is, and nothing is under way
void check_probe(const Client *c);         // a fresh connection's welcome, with nothing under way: counts and marks
void check_memory(bool marks_may_be_lost); // what the server keeps in memory is what is on the disk
