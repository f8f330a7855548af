//! TLS for visitors: certificates by name, session tickets, handshakes.
