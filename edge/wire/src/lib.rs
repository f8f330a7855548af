//! HTTP/1.1 requests read strictly: where a head and a body end, and what is refused.
