#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace melflow::testing {

/// A port that nobody has at the moment.
inline int free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  const bool bound = ::bind(descriptor, reinterpret_cast<sockaddr*>(&at), size) == 0 &&
                     ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&at), &size) == 0;
  ::close(descriptor);
  return bound ? ntohs(at.sin_port) : 0;
}

}  // namespace melflow::testing
