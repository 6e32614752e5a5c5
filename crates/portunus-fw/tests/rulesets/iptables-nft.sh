#!/bin/sh
for t in iptables-nft ip6tables-nft; do
	$t -P INPUT DROP
	$t -A INPUT -i lo -j ACCEPT
	$t -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	$t -A INPUT -m conntrack --ctstate INVALID -j DROP
	$t -A INPUT -p tcp -m conntrack --ctstate NEW -m tcp --dport 22 -m comment --comment ssh -j ACCEPT
	$t -A INPUT -p tcp -m multiport --dports 80,1000:1999 -j ACCEPT
	$t -A INPUT -p tcp -m multiport ! --dports 1:9999 -j ACCEPT
	$t -A INPUT -m limit --limit 50/second -j LOG --log-prefix "left "
done
iptables-nft -A INPUT -p icmp -j ACCEPT
ip6tables-nft -A INPUT -p ipv6-icmp -j ACCEPT
iptables-nft -A INPUT -s 198.51.100.0/28 -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 443 -j ACCEPT
iptables-nft -A INPUT -p udp --dport 53 -j ACCEPT
iptables-nft -A INPUT -p tcp -j REJECT --reject-with tcp-reset
