use strict;
use warnings;
my ($what, $file) = @ARGV;
open my $in, '<', $file or die $!;
if ($what eq 'regex') {
    my ($n, $bytes, %by) = (0, 0);
    while (<$in>) {
        next unless /^(\d+)-(\d+)-(\d+)T(\d\d):(\d\d):(\d\d) (\w+) ([\w\/]+)\[(\d+)\]: (\w+): (.*?) from ([\d.]+) port (\d+)/;
        my ($host, $service, $text, $address) = ($7, $8, $11, $12);
        $by{$host} += $13;
        $n++ if $text =~ /\b(?:water|people|number)\b.*\b[aeiou]\w*/;
        $text =~ s/(\w+) (\w+)/$2 $1/g;
        $text =~ tr/a-z/b-za/;
        $bytes += length($text) + (split /\./, $address)[3];
    }
    print "$n $bytes ", join(' ', map { "$_=$by{$_}" } sort keys %by), "\n";
} else {
    my (%count, %next, $last);
    while (<$in>) {
        for my $word (split) {
            $count{$word}++;
            $next{$last}{$word}++ if defined $last && length $word < 6 && length $last < 6;
            $last = $word;
        }
    }
    my @top = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 99];
    my $sum = 0;
    for my $a (sort keys %next) { $sum += scalar(keys %{$next{$a}}) * length $a }
    print scalar(keys %count), " $sum @top\n";
}
