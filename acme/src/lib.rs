//! Certificates: the development CA today; ACME accounts, orders and renewal next
