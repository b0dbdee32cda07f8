//! Real servers, clusters, proxies and events for tests.
