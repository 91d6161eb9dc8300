// sd_notify(3) without its library: one datagram to $NOTIFY_SOCKET, where there is one. For Type=notify units.
#pragma once

void notify_open();     // before the process is confined and cannot make a socket any more

void notify_ready();
void notify_stopping();
