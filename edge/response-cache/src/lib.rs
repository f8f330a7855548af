//! A shared cache for answers of apps (RFC 9111).
