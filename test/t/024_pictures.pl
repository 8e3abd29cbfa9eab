# The pictures of the pages: each is what its source says, is on a page, says in words what it shows, and needs nothing else.
use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

use File::Basename;

use PostgreSQL::Test::Utils;
use Test::More;

my @pages = ('README.md', 'CONTRIBUTING.md', glob('docs/*.md'), glob('{clients,examples}/*/README.md'));
my %on_page;

sub read_text
{
	open(my $file, '<', $_[0]) or die "$_[0]: $!";
	local $/;
	return scalar <$file>;
}

# What is drawn now is what is there.
my $drawn = PostgreSQL::Test::Utils::tempdir();
command_ok([ "docs/pictures/$_", '--to', $drawn ], "docs/pictures/$_ succeeds") for qw(draw plot);
my @pictures = map { basename($_) } glob 'docs/pictures/*.svg';
is_deeply([ map { basename($_) } glob "$drawn/*.svg" ], \@pictures, 'each picture has a source');
for (@pictures)
{
	ok(-e "$drawn/$_" && read_text("$drawn/$_") eq read_text("docs/pictures/$_"), "$_ is as drawn from its source: make pictures plots");
}
for (map { basename($_) } glob "$drawn/*.md")
{
	ok(read_text("$drawn/$_") eq read_text("docs/$_"), "the table of $_ has the numbers of bench/results.csv: make plots");
}

# Links of pages lead to a picture, and say what it shows.
for my $page (@pages)
{
	my $text = read_text($page);
	$text =~ s/^```.*?^```//msg;
	while ($text =~ /!\[([^\]]*)\]\(([^)]*)\)/g)
	{
		my ($alt, $link) = ($1, $2);
		my $file = $link =~ /^[a-z]+:/ ? $link : dirname($page) . "/$link";
		ok(-e $file, "$page: there is $link");
		cmp_ok(length $alt, '>=', 40, "$page: a text is in place of $link");
		$on_page{ basename($file) } = 1;
	}
	unlike($text, qr/<img\b/i, "$page: pictures have texts");
}
is_deeply([ sort keys %on_page ], [ sort map { basename($_) } glob('docs/pictures/*.png'), glob('docs/pictures/*.svg') ], 'each picture is on a page');

# A picture is well-formed, and neither runs nor loads anything.
sub well_formed
{
	my ($svg) = @_;
	my @open;
	my $element = qr{<(/?)([a-z]\w*)((?:\s+[A-Za-z][\w:-]*="[^"<&]*")*)\s*(/?)>};
	while ($svg =~ /\G(?:$element|(?:[^<&>]|&(?:amp|lt|gt);)+)/gc)
	{
		my ($end, $name, $whole) = ($1, $2, $4);
		if (!defined $name) { return 0 unless @open || $& =~ /^\s*$/ }
		elsif ($end) { return 0 if (pop(@open) // '') ne $name }
		elsif (!$whole) { push @open, $name }
	}
	return (pos($svg) // 0) == length $svg && !@open;
}

for my $picture (@pictures)
{
	my $svg = read_text("docs/pictures/$picture");
	ok(well_formed($svg), "$picture is well-formed");
	like($svg, qr{<title id="title">[^<]+</title>\s*<desc id="desc">[^<]{40}}, "$picture says what it shows");
	like($svg, qr/role="img" aria-labelledby="title desc"/, "$picture is read out by that");
	unlike($svg =~ s{ xmlns="http://www.w3.org/2000/svg"}{}r, qr{<(?:script|image|foreignObject|use|a)\b|href|url\(|\@import|//|\son\w+=}i,
		"$picture refers to nothing else");
}

done_testing();
