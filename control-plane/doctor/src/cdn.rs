//! CDNs that stand in front of a name, told by address, by name or by what they add to answers.

use std::{net::IpAddr, sync::LazyLock};

use ipnet::IpNet;

use crate::observation::Head;

/// A CDN and its signs.
#[derive(Debug)]
pub(crate) struct Cdn {
    pub name: &'static str,
    /// Networks that it publishes for its edges.
    networks: &'static [&'static str],
    /// Names that CNAME records to it end with.
    names: &'static [&'static str],
    /// Fields that its answers have, with a part of their value.
    fields: &'static [(&'static str, &'static str)],
    /// How it is taken out of the way.
    pub off: &'static str,
    /// How it is made to speak HTTPS to us.
    pub strict: &'static str,
}

/// How any other one is taken out of the way.
pub(crate) const OFF: &str = "Turn the CDN off for this name, so that the record itself leads here.";
/// How any other one is made to speak HTTPS to us.
pub(crate) const STRICT: &str = "Let the CDN fetch from here over HTTPS, not HTTP.";

/// Where networks are published: <https://www.cloudflare.com/ips/> and <https://api.fastly.com/public-ip-list>. They grow;
/// one that is missing here is told by its fields. The others use networks that are not theirs alone, so their names and
/// fields tell.
static CDNS: [Cdn; 9] = [
    Cdn {
        name: "Cloudflare",
        networks: &[
            "173.245.48.0/20",
            "103.21.244.0/22",
            "103.22.200.0/22",
            "103.31.4.0/22",
            "141.101.64.0/18",
            "108.162.192.0/18",
            "190.93.240.0/20",
            "188.114.96.0/20",
            "197.234.240.0/22",
            "198.41.128.0/17",
            "162.158.0.0/15",
            "104.16.0.0/13",
            "104.24.0.0/14",
            "172.64.0.0/13",
            "131.0.72.0/22",
            "2400:cb00::/32",
            "2606:4700::/32",
            "2803:f800::/32",
            "2405:b500::/32",
            "2405:8100::/32",
            "2a06:98c0::/29",
            "2c0f:f248::/32",
        ],
        names: &["cdn.cloudflare.net"],
        fields: &[("cf-ray", ""), ("server", "cloudflare")],
        off: "In Cloudflare, under DNS, Records, set the record's proxy status to \"DNS only\" (the grey cloud).",
        strict: "In Cloudflare, under SSL/TLS, Overview, set the encryption mode to \"Full (strict)\" instead of \
                 \"Flexible\".",
    },
    Cdn {
        name: "Fastly",
        networks: &[
            "23.235.32.0/20",
            "43.249.72.0/22",
            "103.244.50.0/24",
            "103.245.222.0/23",
            "103.245.224.0/24",
            "104.156.80.0/20",
            "140.248.64.0/18",
            "140.248.128.0/17",
            "146.75.0.0/17",
            "151.101.0.0/16",
            "157.52.64.0/18",
            "167.82.0.0/17",
            "167.82.128.0/20",
            "167.82.160.0/20",
            "167.82.224.0/20",
            "172.111.64.0/18",
            "185.31.16.0/22",
            "199.27.72.0/21",
            "199.232.0.0/16",
            "2a04:4e40::/32",
            "2a04:4e42::/32",
        ],
        names: &["fastly.net", "fastlylb.net"],
        fields: &[("x-fastly-request-id", ""), ("x-served-by", "cache-")],
        off: OFF,
        strict: STRICT,
    },
    Cdn {
        name: "Amazon CloudFront",
        networks: &[],
        names: &["cloudfront.net"],
        fields: &[("x-amz-cf-id", ""), ("via", "cloudfront")],
        off: OFF,
        strict: "In CloudFront, set the origin's protocol policy to \"HTTPS only\".",
    },
    Cdn {
        name: "Akamai",
        networks: &[],
        names: &["edgekey.net", "edgesuite.net", "akamaiedge.net", "akamai.net"],
        fields: &[("x-akamai-request-id", ""), ("server", "akamaighost")],
        off: OFF,
        strict: STRICT,
    },
    Cdn {
        name: "Azure Front Door",
        networks: &[],
        names: &["azurefd.net", "azureedge.net"],
        fields: &[("x-azure-ref", "")],
        off: OFF,
        strict: "In Front Door, set the route's forwarding protocol to \"HTTPS only\".",
    },
    Cdn {
        name: "Imperva",
        networks: &[],
        names: &["incapdns.net", "impervadns.net"],
        fields: &[("x-iinfo", ""), ("x-cdn", "imperva")],
        off: OFF,
        strict: STRICT,
    },
    Cdn {
        name: "Sucuri",
        networks: &[],
        names: &["sucuri.net"],
        fields: &[("x-sucuri-id", "")],
        off: OFF,
        strict: STRICT,
    },
    Cdn {
        name: "Bunny",
        networks: &[],
        names: &["b-cdn.net"],
        fields: &[("cdn-pullzone", ""), ("server", "bunnycdn")],
        off: OFF,
        strict: STRICT,
    },
    Cdn {
        name: "KeyCDN",
        networks: &[],
        names: &["kxcdn.com"],
        fields: &[("x-pull", "keycdn"), ("server", "keycdn")],
        off: OFF,
        strict: STRICT,
    },
];

static NETWORKS: LazyLock<Vec<(IpNet, &'static Cdn)>> = LazyLock::new(|| {
    let networks = CDNS.iter().flat_map(|cdn| cdn.networks.iter().map(move |network| (network, cdn)));
    networks.filter_map(|(network, cdn)| Some((network.parse().ok()?, cdn))).collect()
});

/// The CDN that an address belongs to.
pub(crate) fn by_address(address: IpAddr) -> Option<&'static Cdn> {
    NETWORKS.iter().find(|(network, _)| network.contains(&address)).map(|(_, cdn)| *cdn)
}

/// The CDN that a name belongs to, as a CNAME has it.
pub(crate) fn by_name(name: &str) -> Option<&'static Cdn> {
    let below = |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    CDNS.iter().find(|cdn| cdn.names.iter().any(below))
}

/// The CDN that an answer went through.
pub(crate) fn by_head(head: &Head) -> Option<&'static Cdn> {
    let has =
        |(name, part): &(&str, &str)| head.field(name).is_some_and(|value| value.to_ascii_lowercase().contains(part));
    CDNS.iter().find(|cdn| cdn.fields.iter().any(has))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_cdn_is_known_by_its_addresses_names_and_fields() {
        assert_eq!(NETWORKS.len(), CDNS.iter().map(|cdn| cdn.networks.len()).sum::<usize>());
        let named = |found: Option<&'static Cdn>| found.map(|cdn| cdn.name);
        assert_eq!(named(by_address("104.21.3.4".parse().unwrap())), Some("Cloudflare"));
        assert_eq!(named(by_address("2606:4700:3030::1".parse().unwrap())), Some("Cloudflare"));
        assert_eq!(named(by_address("151.101.1.6".parse().unwrap())), Some("Fastly"));
        assert_eq!(named(by_address("192.0.2.1".parse().unwrap())), None);
        assert_eq!(named(by_name("d111.cloudfront.net")), Some("Amazon CloudFront"));
        assert_eq!(named(by_name("notcloudfront.net")), None);
        let head = Head { status: 200, fields: vec![("server".to_owned(), "BunnyCDN-DE1".to_owned())] };
        assert_eq!(named(by_head(&head)), Some("Bunny"));
        assert_eq!(named(by_head(&Head::default())), None);
    }
}
