#!/bin/sh
for v in "" 6; do
	t=ip${v}tables-nft
	u=ufw${v}
	for c in before-input user-input after-input reject-input skip-to-policy-input not-local logging-deny user-limit user-limit-accept; do $t -N $u-$c; done
	$t -P INPUT DROP
	$t -A INPUT -j $u-before-input
	$t -A INPUT -j $u-after-input
	$t -A INPUT -j $u-reject-input
	$t -A $u-before-input -i lo -j ACCEPT
	$t -A $u-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	$t -A $u-before-input -m conntrack --ctstate INVALID -j $u-logging-deny
	$t -A $u-before-input -m conntrack --ctstate INVALID -j DROP
	[ -z "$v" ] || $t -A $u-before-input -p ipv6-icmp -j ACCEPT
	$t -A $u-before-input -j $u-not-local
	$t -A $u-before-input -j $u-user-input
	$t -A $u-not-local -m addrtype --dst-type LOCAL -j RETURN
	$t -A $u-not-local -m limit --limit 3/min --limit-burst 10 -j $u-logging-deny
	$t -A $u-not-local -j DROP
	$t -A $u-after-input -p udp -m udp --dport 137 -j $u-skip-to-policy-input
	$t -A $u-skip-to-policy-input -j DROP
	$t -A $u-user-input -p tcp -m tcp --dport 80 -j ACCEPT
	$t -A $u-user-limit -m limit --limit 3/min -j LOG --log-prefix "[UFW LIMIT BLOCK] "
	$t -A $u-user-limit -j REJECT
	$t -A $u-user-limit-accept -j ACCEPT
done
