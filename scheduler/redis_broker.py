"""kombu's transport for Redis, extended to forget the sockets of closed connections."""

from __future__ import annotations

from typing import Any

from kombu.transport.redis import MultiChannelPoller, Transport
from kombu.utils.eventio import poll


class Poller(MultiChannelPoller):
    """kombu's poller, which asks a connection for its socket after redis-py has closed it.

    A computing process that was forked since has the socket open, too, so that its end of file is
    reported for ever. It was taken for that of the connection made in its place, which was closed,
    and where a message was acknowledged in that moment, read: the worker ended with an error.
    """

    def _on_connection_disconnect(self, connection: Any) -> None:
        self._discard_paused_connection(connection)  # type: ignore[no-untyped-call]
        for channel, client, kind in list(self._chan_to_sock):
            if client.connection is connection:
                del self._chan_to_sock[channel, client, kind]
                for fd in [fd for fd, one in self._fd_to_chan.items() if one == (channel, kind)]:
                    del self._fd_to_chan[fd]
        self.poller.close()
        self.poller = poll()  # type: ignore[no-untyped-call]
        for sock in self._chan_to_sock.values():
            if sock.fileno() in self.fds:  # it is not paused
                self.poller.register(sock, self.eventflags)


class RedisBroker(Transport):
    """kombu's transport with this poller."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self.cycle: Any = Poller()  # type: ignore[no-untyped-call]
