//! Certificates: accounts, orders, challenges and renewal (RFC 8555). Nothing is here until the platform
//! terminates TLS; the edge and the control plane will depend on this crate, and on nothing behind it.
