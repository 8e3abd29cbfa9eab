package Svg;

# A canvas for pictures of boxes, arrows and few words. It gives the same bytes wherever it runs.
#
# A picture has a background of its own, with a dark palette for readers who prefer that. So it can be read on any page.
# Readers have different fonts. So we measure by DejaVu Sans, which is wider than what most have, and draw nothing in
# which a text leaves its box or the picture, or touches another text or a line.

use strict;
use warnings;
use utf8;
use open qw(:encoding(UTF-8));

# The colours by their names: of texts, of lines and bars, and behind texts; each on white and on dark.
my %colours = (
	ink => [ '#1f2328', '#f0f6fc', '#818b98', '#656c76', '#f6f8fa', '#151b23' ],
	quiet => [ '#59636e', '#9198a1', '#a8b1bb', '#59636e', '#f6f8fa', '#151b23' ],
	blue => [ '#0969da', '#58a6ff', '#0969da', '#388bfd', '#ddf4ff', '#12243d' ],
	green => [ '#1a7f37', '#3fb950', '#1a7f37', '#2ea043', '#dafbe1', '#12291b' ],
	red => [ '#cf222e', '#f85149', '#cf222e', '#f85149', '#ffebe9', '#30171b' ],
	amber => [ '#8a5d00', '#d29922', '#bf8700', '#bb8009', '#fff8c5', '#2e2510' ]);
# What each kind of class sets, and to which of these colours.
my %kinds = (text => [ 'fill', 0 ], line => [ 'stroke', 2 ], full => [ 'fill', 2 ], soft => [ 'fill', 4 ]);
my %panel = (background => [ '#ffffff', '#0d1117' ], border => [ '#d0d7de', '#3d444d' ]);

my %size = (normal => 15, small => 13);		# pixels, if the picture is as wide as it wants to be

# How wide the characters from U+0020 on are, in hundredths of the size of the font; all others are taken for wide ones.
my @regular = qw(
	32 40 46 84 64 95 78 27 39 39 50 84 32 36 32 34 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 53
	100 68 69 70 77 63 58 77 75 29 29 66 56 86 75 79 60 79 69 63 61 73 68 99 69 61 69 39 34 39 84 50
	50 61 63 55 63 62 35 63 63 28 28 58 28 97 63 61 63 63 41 52 39 63 59 82 59 59 52 64 34 64 84);
my @bold = qw(
	35 46 52 84 70 100 87 31 46 46 52 84 38 42 38 37 70 70 70 70 70 70 70 70 70 70 40 40 84 84 84 58
	100 77 76 73 83 68 68 82 84 37 37 77 64 100 84 85 73 85 77 72 68 81 77 110 77 72 73 46 37 46 84 50
	50 67 72 59 72 68 44 72 71 34 34 67 34 104 71 69 72 72 49 60 48 71 65 92 65 65 58 71 37 71 84);
use constant MONO => 60.2;

sub new
{
	my ($class, %args) = @_;	# name, title, desc, width, height
	return bless { %args, body => '', texts => [], boxes => [], lines => [], used => {} }, $class;
}

# The width of a text, in pixels.
sub width
{
	my ($text, %style) = @_;
	my $widths = $style{bold} ? \@bold : \@regular;
	my $sum = 0;
	$sum += $style{mono} ? MONO : $widths->[ ord($_) - 32 ] // 100 for split //, $text;
	return $sum * $size{ $style{small} ? 'small' : 'normal' } / 100;
}

# A rectangle with lines of text in its middle.  Style: a colour; dashed, plain (not filled), square.
sub box
{
	my ($self, $x, $y, $w, $h, $style, @lines) = @_;
	my @classes = map { $self->class($_, $style->{colour}) } 'line', $style->{plain} ? () : 'soft';
	push @{ $self->{boxes} }, [ $x, $y, $x + $w, $y + $h, $lines[0] // 'a box without text' ];
	$self->put('rect', class => "@classes", x => $x, y => $y, width => $w, height => $h, $style->{square} ? () : (rx => 6),
		dashes($style));
	my $step = $style->{small} ? 18 : 20;
	my $baseline = $y + $h / 2 + 5 - $step * (@lines - 1) / 2;
	for (@lines)
	{
		my $room = $w - 8;
		die "$self->{name}: \"$_\" is too wide for its box: " . width($_, %$style) . " of $room\n" if width($_, %$style) > $room;
		$self->text($x + $w / 2, $baseline, { %$style, anchor => 'middle' }, $_);
		$baseline += $step;
	}
	return;
}

# A text on this baseline.  Style: a colour; anchor (start, middle or end); bold, mono, small.
sub text
{
	my ($self, $x, $y, $style, $text) = @_;
	my $anchor = $style->{anchor} // 'start';
	my $size = $size{ $style->{small} ? 'small' : 'normal' };
	my $width = width($text, %$style);
	my $left = $x - ($anchor eq 'middle' ? $width / 2 : $anchor eq 'end' ? $width : 0);
	push @{ $self->{texts} }, [ $left, $y - 0.78 * $size, $left + $width, $y + 0.22 * $size, $text ];
	my @classes = ($self->class('text', $style->{colour}), grep { $style->{$_} } qw(small bold mono));
	$self->put('text', class => "@classes", x => $x, y => $y, $anchor eq 'start' ? () : ('text-anchor' => $anchor), $text);
	return;
}

# A line through these points.  Style: a colour; dashed; arrow, or cross, at its end; thin.
sub line
{
	my ($self, $points, $style) = @_;
	my @points = @$points;
	push @{ $self->{lines} }, map { [ @points[ $_, $_ + 1, $_ + 2, $_ + 3 ] ] } map { 2 * $_ } 0 .. @points / 2 - 2;
	my ($x0, $y0, $x, $y) = @points[ -4 .. -1 ];
	my $length = sqrt(($x - $x0)**2 + ($y - $y0)**2);
	my ($dx, $dy) = (($x - $x0) / $length, ($y - $y0) / $length);
	@points[ -2, -1 ] = ($x - 6 * $dx, $y - 6 * $dy) if $style->{arrow};
	my @classes = ($self->class('line', $style->{colour}), $style->{thin} ? 'thin' : ());
	$self->put('polyline', class => "@classes", points => join(' ', map { number($_) } @points), dashes($style));
	if ($style->{arrow})
	{
		$self->put('polygon', class => $self->class('full', $style->{colour}),
			points => join ' ', map { number($_) } $x, $y, $x - 10 * $dx - 4.5 * $dy, $y - 10 * $dy + 4.5 * $dx,
			$x - 10 * $dx + 4.5 * $dy, $y - 10 * $dy - 4.5 * $dx);
	}
	$self->cross($x, $y, $style) if $style->{cross};
	return;
}

sub cross
{
	my ($self, $x, $y, $style) = @_;
	$self->put('path', class => $self->class('line', $style->{colour}), 'stroke-width' => 2.5,
		d => sprintf('M%s %sl12 12m0 -12l-12 12', number($x - 6), number($y - 6)));
	return;
}

sub write_file
{
	my ($name, $text) = @_;
	open(my $file, '>', $name) or die "$name: $!\n";
	print $file $text;
	close $file or die "$name: $!\n";
	return;
}

sub dashes
{
	return $_[0]{dashed} ? ('stroke-dasharray' => '5 4') : ();
}

# The class of an element, which the style sheet then has: what is coloured, and how.
sub class
{
	my ($self, $what, $colour) = @_;
	my $class = "$what-" . ($colour // 'ink');
	$self->{used}{$class} = 1;
	return $class;
}

# An element, with a text if there is one more argument.
sub put
{
	my ($self, $name, @attributes) = @_;
	my $text = @attributes % 2 ? pop @attributes : undef;
	my $element = "<$name";
	while (my ($attribute, $value) = splice @attributes, 0, 2)
	{
		$value = number($value) if $value =~ /^-?[\d.]+(e-?\d+)?$/;
		$element .= qq( $attribute="$value");
	}
	$self->{body} .= $element . (defined $text ? '>' . escape($text) . "</$name>" : '/>') . "\n";
	return;
}

sub number
{
	my $n = sprintf '%.1f', $_[0];
	$n =~ s/\.0$//;
	return $n eq '-0' ? 0 : $n;
}

sub escape
{
	my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;');
	return $_[0] =~ s/([&<>])/$entity{$1}/gr;
}

# The whole file.
sub file
{
	my ($self) = @_;
	$self->check;
	my ($w, $h) = map { number($_) } @{$self}{qw(width height)};
	my ($title, $desc) = map { escape($_) } @{$self}{qw(title desc)};
	my ($light, $dark) = map { $self->palette($_) } 0, 1;
	return <<"SVG";
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $w $h" width="$w" height="$h" role="img" aria-labelledby="title desc">
<title id="title">$title</title>
<desc id="desc">$desc</desc>
<style>
text{font:15px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif}
.small{font-size:13px}
.bold{font-weight:bold}
.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
rect,polyline,path{stroke-width:1.5;stroke-linejoin:round;fill:none}
polyline.thin{stroke-width:1}
$light\@media(prefers-color-scheme:dark){
$dark}
</style>
<rect class="panel" x="0.5" y="0.5" width="@{[ $w - 1 ]}" height="@{[ $h - 1 ]}" rx="8"/>
$self->{body}</svg>
SVG
}

# The rules for the colours that are used, on white (0) or on dark (1).
sub palette
{
	my ($self, $dark) = @_;
	my $css = ".panel{fill:$panel{background}[$dark];stroke:$panel{border}[$dark];stroke-width:1}\n";
	for my $class (sort keys %{ $self->{used} })
	{
		my ($what, $colour) = split /-/, $class;
		my $kind = $kinds{$what} or next;
		my ($property, $first) = @$kind;
		$css .= ".$class\{$property:$colours{$colour}[ $first + $dark ]}\n";
	}
	return $css;
}

# Dies if a text cannot be read.
sub check
{
	my ($self) = @_;
	my @texts = @{ $self->{texts} };
	for my $i (0 .. $#texts)
	{
		my ($x0, $y0, $x1, $y1, $text) = @{ $texts[$i] };
		my $wrong = sub { die "$self->{name}: \"$text\" $_[0]\n" };
		$wrong->('leaves the picture') if $x0 < 6 || $y0 < 4 || $x1 > $self->{width} - 6 || $y1 > $self->{height} - 4;
		for (@texts[ $i + 1 .. $#texts ])
		{
			$wrong->("overlaps \"$_->[4]\"") if $x0 < $_->[2] && $_->[0] < $x1 && $y0 < $_->[3] && $_->[1] < $y1;
		}
		for (@{ $self->{boxes} })
		{
			my $apart = $x1 < $_->[0] || $x0 > $_->[2] || $y1 < $_->[1] || $y0 > $_->[3];
			my $inside = $x0 > $_->[0] && $x1 < $_->[2] && $y0 > $_->[1] && $y1 < $_->[3];
			$wrong->("crosses the border of \"$_->[4]\"") unless $apart || $inside;
		}
		for (@{ $self->{lines} })
		{
			$wrong->("is crossed by the line @$_") if crosses($_, $x0, $y0, $x1, $y1);
		}
	}
	return;
}

# Does a line go through a rectangle?  Cuts the line off at each side, and looks whether anything is left.
sub crosses
{
	my ($line, $x0, $y0, $x1, $y1) = @_;
	my ($ax, $ay, $bx, $by) = @$line;
	my ($from, $to) = (0, 1);
	for ([ $ax - $bx, $ax - $x0 ], [ $bx - $ax, $x1 - $ax ], [ $ay - $by, $ay - $y0 ], [ $by - $ay, $y1 - $ay ])
	{
		my ($p, $q) = @$_;
		if ($p == 0) { return 0 if $q < 0 }
		elsif ($p < 0) { $from = $q / $p if $q / $p > $from }
		else { $to = $q / $p if $q / $p < $to }
	}
	return $from < $to;
}

1;
