#!/bin/sh
# Without a configuration it forwards, as the image that it stands for does.
[ -f /etc/dnsmasq.conf ] || printf 'server=1.1.1.1\nserver=1.0.0.1\n' >/etc/dnsmasq.conf
exec dnsmasq --no-daemon --conf-file=/etc/dnsmasq.conf
