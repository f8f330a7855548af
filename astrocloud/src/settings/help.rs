//! What each setting means, and the settings as an annotated file.

use std::fmt::Write as _;

use super::Settings;
use super::layers::{leaves, table, variable};

/// Every setting with its meaning.
const MEANINGS: &[(&str, &str)] = &[
    ("data_dir", "Folder of all state"),
    (
        "shared_dir",
        "Folder of what roles on several machines share: sites, logs and images, where no service is set; empty for data_dir",
    ),
    ("base_domain", "Project `shop` is at shop.<base domain>"),
    ("database.url", "postgres://user:password@host/database?sslmode=verify-full; empty is a file below data_dir"),
    ("queue.url", "redis://user:password@host (rediss, redis-cluster, redis-sentinel …); empty is within the process"),
    ("queue.name", "Keeps installations on one Redis apart"),
    ("queue.account_jobs", "Builds of one account at a time, with Redis; 0 is any number"),
    ("queue.ca_file", "File (PEM) of the CA that a Redis over TLS is checked with; empty for the system's"),
    ("logs.url", "kafka://host:9092,host:9092/prefix, or kafkas:// over TLS; empty is files below data_dir"),
    ("logs.spool", "With Kafka: log lines that wait on disk while it is away; beyond, builds and apps wait"),
    ("logs.copy", "With Kafka: log lines that are on disk before they are in the object store"),
    ("logs.build_retention", "With Kafka: a build log is kept in the object store"),
    ("logs.runtime_retention", "With Kafka: the lines of an app are kept in the object store"),
    ("logs.kafka.partitions", "Partitions of each topic that are used; it must not change while logs are kept"),
    ("logs.kafka.replication", "Copies of each partition in topics that are made; 0 is what the cluster does"),
    ("logs.kafka.retention", "Topics that are made keep messages; a control plane must not be away for longer"),
    ("logs.kafka.compression", "none, lz4 or zstd"),
    ("logs.kafka.sasl", "How the user logs in: plain, scram-sha-256 or scram-sha-512"),
    ("logs.kafka.user", "Who logs in; empty when Kafka asks nobody"),
    ("logs.kafka.password_file", "File of that user's password"),
    ("logs.kafka.ca_file", "File (PEM) of the CA that brokers are checked with; empty for the system's"),
    ("registry.url", "https://host/folder of an OCI registry for apps' images; empty is a folder below data_dir"),
    ("registry.base_image", "What apps' images lie on; {major} is the major version of the app's Node"),
    ("registry.keep", "Images of a project that can be rolled back to; older ones are deleted, the live one never"),
    ("registry.login", "Who asks the registry: none, password, or for Azure managed, workload or secret"),
    ("registry.username", "The registry's user"),
    ("registry.password_file", "File of the user's password, or of the app's secret"),
    ("registry.tenant", "Directory of the workload's or the app's identity, for Azure Container Registry"),
    ("registry.client", "Id of the identity or the app"),
    ("registry.token_file", "File that the cluster writes the workload's token to"),
    (
        "objects.url",
        "azure://ACCOUNT/CONTAINER, https://ACCOUNT.blob.core.windows.net/CONTAINER or file:///folder; empty is a folder \
         below data_dir",
    ),
    ("objects.endpoint", "Another endpoint of that account, like a private one; empty for the public one"),
    ("objects.ca_file", "File (PEM) of certificates that it is checked with besides the system's; empty for none"),
    ("objects.identity", "Who asks Azure: workload (the cluster's token), managed (the machine), key or sas"),
    ("objects.tenant", "Directory of the workload's identity; empty for AZURE_TENANT_ID"),
    ("objects.client", "Id of the identity; empty for AZURE_CLIENT_ID"),
    (
        "objects.token_file",
        "File that the cluster writes the workload's token to; empty for AZURE_FEDERATED_TOKEN_FILE",
    ),
    ("objects.key_file", "File of the account's key; empty for AZURE_STORAGE_KEY"),
    ("objects.sas_file", "File of a SAS; empty for AZURE_STORAGE_SAS_TOKEN"),
    ("objects.garbage_grace", "What no deployment names any more is kept for so long"),
    ("objects.garbage_every", "Time between two looks for it"),
    ("listen.http", "Where visitors reach sites; port 0 takes a free one"),
    ("listen.https", "Where visitors reach sites over TLS; port 0 takes a free one"),
    ("listen.api", "Where the API and the dashboard are"),
    ("builds.concurrency", "Builds at one time"),
    ("builds.wall", "Time for install and build together"),
    ("builds.memory", "Memory of all processes of a build"),
    ("builds.processes", "Processes and threads of a build"),
    ("builds.file_size", "Size of any one file that a build makes"),
    ("builds.disk", "Disk of source, dependencies, caches and output of a build"),
    ("builds.open_files", "Open files of any one process of a build"),
    ("builds.output_lines", "Lines that a build may print"),
    ("builds.output_bytes", "Bytes that a build may print"),
    ("builds.downloads", "A project's download cache that is kept; a larger one is emptied"),
    ("sources.upload", "Largest source archive"),
    ("sources.pending_uploads", "Uploads that may wait to be deployed; after an hour they are removed"),
    ("sources.entries", "Files, folders and links of a source"),
    ("sources.bytes", "Size of an unpacked source"),
    ("sources.file_bytes", "Size of any one file of a source"),
    ("sources.wall", "Time to fetch a source"),
    ("sites.files", "Files of a site"),
    ("sites.bytes", "Size of a site, before compression"),
    ("sites.file_bytes", "Size of any one file of a site"),
    ("apps.memory", "Memory of all processes of an app"),
    ("apps.processes", "Processes and threads of an app"),
    ("apps.open_files", "Open files of any one process of an app"),
    ("apps.file_size", "Size of any one file that an app makes"),
    ("apps.disk", "What an app may add on disk"),
    ("apps.log_lines_per_second", "Lines that an app may log in a second"),
    ("apps.start_timeout", "From an app's start to its first passed health check"),
    ("apps.health_timeout", "For one try of a health check"),
    ("apps.liveness_every", "Between two health checks of a running app"),
    ("apps.liveness_failures", "Failed health checks in a row after which an app is restarted"),
    ("apps.drain_delay", "Between traffic moving away and SIGTERM"),
    ("apps.grace", "Between SIGTERM and SIGKILL"),
    ("apps.restart_first", "First pause before an app that ended is started again; it doubles"),
    ("apps.restart_max", "Longest such pause"),
    ("apps.restart_reset", "Health of this length makes the next pause the first again"),
    ("runtime.kind", "processes of this machine, or kubernetes"),
    ("runtime.kubeconfig", "Kubeconfig of the cluster; empty is the cluster in which this runs"),
    ("runtime.context", "Context of the kubeconfig; empty is its current one"),
    ("runtime.namespace", "The platform's own namespace: edges run there, and leases lie there"),
    ("runtime.namespace_prefix", "What the names of accounts' namespaces begin with"),
    ("runtime.runtime_class", "RuntimeClass of apps, as kata-vm-isolation on AKS; empty is the cluster's default"),
    ("runtime.replicas", "Instances of an app"),
    ("runtime.cpu_request", "Thousandths of a core that an instance is sure of"),
    ("runtime.cpu", "Thousandths of a core that an instance may use"),
    ("runtime.account_pods", "Instances of all apps of an account"),
    ("runtime.account_memory", "Memory of all instances of an account"),
    ("runtime.pull_secret_file", "A .dockerconfigjson to pull images with; empty when nodes can by themselves"),
    ("runtime.edge_networks", "Networks (CIDR) of edges that run elsewhere"),
    ("runtime.denied_networks", "Networks (CIDR) that apps may not reach, beside all private ones"),
    ("runtime.schedule_timeout", "For a place in the cluster and for the image to be there"),
    ("runtime.resync", "Between two comparisons of the cluster with what should be there"),
    ("runtime.keep_stopped", "How long what an app had in the cluster is kept after it was stopped"),
    ("edge.cache", "Memory for manifests and files"),
    ("edge.response_cache", "Memory for kept answers of apps"),
    ("edge.certificate_cache", "Memory for certificates; the others are read from disk again"),
    ("edge.max_connections", "Visitors' connections at one time"),
    ("edge.client_connections", "Connections of one visitor's address at one time; 0 is any number"),
    ("edge.unbounded_clients", "Addresses (CIDR) that may have any number"),
    ("edge.streams", "Requests at one time on one HTTP/2 connection"),
    ("edge.control_frames", "Frames a second that cost a visitor over HTTP/2 nothing, on average"),
    ("edge.reset_streams", "Requests of one HTTP/2 connection that were taken back and are not over yet"),
    ("edge.min_rate", "Bytes a second below which a visitor who is waited for is cut off in the end; 0 is any"),
    ("edge.https_redirect", "Lead plain HTTP to HTTPS, for projects whose policy does not say"),
    ("edge.https_port", "Port at which visitors reach HTTPS; 0 is the one that is listened on"),
    ("edge.proxy_protocol_from", "Addresses (CIDR) that begin each connection with a PROXY header, and must"),
    ("edge.trusted_proxies", "Proxies (CIDR) in front that are believed for whom they speak"),
    ("edge.geoip", "File in MaxMind's format that tells visitors' countries; empty for none"),
    ("edge.admin", "Where the operator asks for /metrics, /healthz and /readyz; empty for nowhere"),
    ("edge.access_log", "Where lines of JSON tell of requests: stdout, a file, or empty for nowhere"),
    ("edge.access_log_sample", "Part of requests that is logged, 0 to 1; failures always are"),
    ("edge.otlp", "Collector of traces, like http://collector:4318; empty for none"),
    ("edge.otlp_sample", "Part of traces that is recorded, 0 to 1"),
    ("edge.otlp_service", "What this edge is called in traces"),
    ("edge.key_file", "Key that seals certificates on the edge's disk; empty for one in its folder"),
    ("edge.control_plane", "`astrocloud edge`: where the control plane's API is"),
    (
        "edge.control_plane_ca",
        "`astrocloud edge`: file (PEM) of the CA that it is checked with; empty for the system's",
    ),
    ("edge.token_file", "`astrocloud edge`: file of the edges' token, edge-token in the platform's data folder"),
    ("edge.store", "`astrocloud edge`: object store with the sites; empty for objects.url"),
    ("edge.drain", "`astrocloud edge`: for visitors' requests to end"),
    ("edge.requests.line", "Longest request line over HTTP/1"),
    ("edge.requests.head", "Largest head of a request over HTTP/1"),
    ("edge.requests.fields", "Header fields of a request over HTTP/1"),
    ("edge.requests.chunk_extensions", "Chunk extensions of a request's body, together"),
    ("edge.requests.trailers", "Trailer fields of a request's body, together"),
    ("edge.timeouts.connect", "An app accepts a connection"),
    ("edge.timeouts.upstream", "Silence of an app before or within its answer"),
    ("edge.timeouts.stream", "Silence on a WebSocket or on server-sent events"),
    ("edge.timeouts.upstream_idle", "An unused connection to an app is kept"),
    ("edge.timeouts.handshake", "A TLS handshake"),
    ("edge.timeouts.proxy_header", "A PROXY header arrives"),
    ("edge.timeouts.client_head", "A visitor sends the head of a request"),
    ("edge.timeouts.client", "Silence of a visitor within a request's body"),
    ("edge.timeouts.client_idle", "A visitor's unused connection is kept"),
    ("edge.timeouts.client_stall", "A visitor takes nothing of an answer"),
    ("edge.timeouts.wake", "A request is kept for an app that starts because of it"),
    ("edge.timeouts.store", "The object store answers"),
    ("control_plane.public_url", "Where people and scripts reach the API, when a proxy stands before it"),
    ("deployer.control_planes", "`astrocloud deployer`: APIs of the control planes, like https://control.example.com"),
    (
        "deployer.control_plane_ca",
        "`astrocloud deployer`: file (PEM) of the CA that they are checked with; empty for the system's",
    ),
    (
        "deployer.token_file",
        "`astrocloud deployer`: file of the deployers' token, deployer-token in a control plane's data folder",
    ),
    (
        "deployer.advertise",
        "`astrocloud deployer`: address at which edges reach this machine's apps; empty for edges on it",
    ),
    ("deployer.leave", "`astrocloud deployer`: for its apps to run elsewhere before it ends"),
    (
        "dns.listen",
        "Where the DNS server answers, over UDP and TCP; port 0 takes a free one, an empty list turns it off",
    ),
    ("dns.nameservers", "Names that the NS records of new zones get, in order; empty for ns1.<base domain>"),
    ("dns.mailbox", "Mail address in the SOA of new zones; empty for hostmaster at the base domain"),
    ("dns.ttl", "Others keep a record for so long, unless it says so itself"),
    ("dns.negative_ttl", "Others keep for so long that something is not there; for new zones, like the next three"),
    ("dns.refresh", "Secondaries look for changes after this"),
    ("dns.retry", "Secondaries that could not look try again after this"),
    ("dns.expire", "Secondaries stop answering without the platform after this"),
    ("dns.rate", "Answers a second over UDP to one network (/24, /56); 0 is any number"),
    ("dns.burst", "Answers at once over UDP to one network"),
    ("dns.transfer", "Addresses (CIDR) that may transfer zones"),
    ("dns.keys_file", "File of keys (TSIG, as `tsig-keygen` makes them) with which anybody may; empty for none"),
    ("dns.secondaries", "Servers that are told of changes, like 192.0.2.53:53, or `192.0.2.53:53 key`"),
    (
        "dns.challenges",
        "Below this name, in a zone held here, stand proofs of domains elsewhere that lead to them by a CNAME",
    ),
    ("dns.azure.zones", "Zones of Azure DNS in which proofs for certificates are set"),
    ("dns.azure.subscription", "Their subscription's id"),
    ("dns.azure.resource_group", "Their resource group"),
    ("dns.azure.identity", "Who asks Azure: managed (the machine), workload (the cluster's token) or secret (an app)"),
    ("dns.azure.tenant", "Directory of the workload's or the app's identity"),
    ("dns.azure.client", "Id of the identity or the app"),
    ("dns.azure.secret_file", "File of the app's secret"),
    ("dns.azure.token_file", "File that the cluster writes the workload's token to"),
    ("lookup.roots", "Root servers that questions to the DNS begin with, with a port if it is not 53"),
    ("lookup.servers", "Name servers that may be asked although they are not of the public Internet"),
    ("lookup.trust_anchors", "Keys of the root zone: iana, or DNSKEY records; empty to leave signatures unchecked"),
    ("lookup.server_timeout", "One name server answers"),
    ("lookup.timeout", "A question is answered, whatever servers it leads to"),
    ("lookup.queries", "Questions to name servers at one time"),
    ("domains.addresses", "Public addresses of the edges, for A and AAAA records of registered names like example.com"),
    ("domains.notice", "A custom domain that leads elsewhere is served on"),
    ("doctor.resolvers", "Public resolvers that `domains check` asks what visitors still get"),
    ("doctor.rdap", "List of the registries' RDAP services, by which held and expired domains are known"),
    ("doctor.service_timeout", "A registry, or an authority's directory, answers"),
    ("doctor.visit_timeout", "An address that is checked connects, shakes hands or answers"),
    ("doctor.inner", "Networks that may be visited by checks although they are not of the public Internet"),
    ("limits.domains_per_project", "Custom domains of a project"),
    (
        "acme.authorities",
        "Certificate authorities that are asked, in this order: lets-encrypt, zerossl, google, or tables \
         [[acme.authorities]] with id, directory, staging, contact, eab_id, eab_key_file, profile, preferred_chain, \
         root_file, limits = { orders = \"300/3h\", registered_domain, same_names, failures }. Without any, sites have \
         certificates of the development CA",
    ),
    ("acme.lease", "A certificate's order rests after its process died; another goes on with it then"),
    ("sandbox.forbid", "Levels that must not be used: bubblewrap, namespaces, landlock"),
    ("log.level", "error, warn, info, debug or trace; libraries log warnings only"),
    ("log.format", "human or json"),
    ("log.access", "Log every request of visitors"),
];

/// The settings as a file that `--config` takes, with meanings and variables.
///
/// # Errors
/// When a setting can't be written as TOML.
pub fn print(settings: &Settings) -> anyhow::Result<String> {
    let mut text = String::from(
        "# Settings of `astrocloud up` and of the roles. Flags win over variables, variables over this file.\n",
    );
    let values = leaves(&table(settings)?);
    let mut section = "";
    for &(key, meaning) in MEANINGS {
        let Some((_, value)) = values.iter().find(|(known, _)| known == key) else { continue };
        let (parent, name) = key.rsplit_once('.').unwrap_or(("", key));
        if parent != section {
            write!(text, "\n[{parent}]\n")?;
            section = parent;
        }
        writeln!(text, "# {meaning} ({})\n{name} = {value}", variable(key))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_setting_is_described_once() {
        let mut described: Vec<&str> = MEANINGS.iter().map(|(key, _)| *key).collect();
        described.sort_unstable();
        let mut known: Vec<String> =
            leaves(&table(&Settings::default()).unwrap()).into_iter().map(|(key, _)| key).collect();
        known.sort();
        assert_eq!(described, known);
    }

    #[test]
    fn what_is_printed_is_a_file_that_sets_the_same() {
        let settings = Settings { base_domain: "apps.example".to_owned(), ..Settings::default() };
        let text = print(&settings).unwrap();
        assert!(text.contains("(ASTROCLOUD_BUILDS_WALL)\nwall = \"20m\""), "{text}");
        assert!(text.contains("upload = \"500 MiB\""), "{text}");
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    }
}
