//! Where no keys are fetched from, whatever a name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds tell machines their secrets, and which are no link-local addresses: Alibaba, Azure, Oracle; AWS, Google.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Whether no server of keys can be there: the addresses of a link, of many, of nobody, and of the metadata of clouds.
pub(super) fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_refused_v4(address),
        IpAddr::V6(address) => {
            METADATA_V6.contains(&address)
                || address.is_unicast_link_local()
                || address.is_multicast()
                || address.is_unspecified()
                || inner(address).is_some_and(is_refused_v4)
        }
    }
}

fn is_refused_v4(address: Ipv4Addr) -> bool {
    METADATA_V4.contains(&address)
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        // All of 0.0.0.0/8 is "this network", and some systems take it for this machine.
        || address.octets()[0] == 0
}

/// The IPv4 address that one of IPv6 leads to: mapped, compatible, through NAT64 (RFC 6052) or 6to4.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b, c, d, e, f) {
        // The loopback address would be 0.0.0.1.
        (0, 0, 0, 0, 0, 0) if !address.is_loopback() => of(g, h),
        // Behind the prefix for local use (RFC 8215) nothing says where it stands; the end is where it mostly does.
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) | (0x64, 0xff9b, 1, ..) => of(g, h),
        (0x2002, ..) => of(b, c),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_server_of_keys_can_be_is_refused_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "0.0.0.0",
            "0.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:7:8:9:a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(is_refused(address.parse().expect("it is one")), "{address}");
        }
    }

    #[test]
    fn the_addresses_of_servers_are_not_refused() {
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "100.100.100.201",
            "169.253.0.1",
            "192.168.1.1",
            "203.0.113.9",
            "::1",
            "fd00:ec2::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "2002:0a00:0001::1",
        ] {
            assert!(!is_refused(address.parse().expect("it is one")), "{address}");
        }
    }
}
