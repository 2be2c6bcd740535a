#include "gateway/option_values.h"

bool gateway_value_bytes(struct span text, uint64_t *value_out)
{
	static const struct {
		const char *name;
		uint64_t factor;
	} units[] = {
		{"", 1},
		{"B", 1},
		{"K", 1024},
		{"KiB", 1024},
		{"KB", 1000},
		{"M", 1024 * 1024},
		{"MiB", 1024 * 1024},
		{"MB", 1000 * 1000},
		{"G", 1024 * 1024 * 1024},
		{"GiB", 1024 * 1024 * 1024},
		{"GB", 1000 * 1000 * 1000},
	};
	size_t n_digits = 0;
	uint64_t number;

	while (n_digits < text.len && text.ptr[n_digits] >= '0' && text.ptr[n_digits] <= '9') {
		n_digits++;
	}
	struct span unit = span_trim(span_from(text, n_digits));
	if (!span_to_u64(span_slice(text, 0, n_digits), &number)) {
		return false;
	}
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (span_equal_text_nocase(unit, units[i].name) && number <= UINT64_MAX / units[i].factor) {
			*value_out = number * units[i].factor;
			return true;
		}
	}
	return false;
}

bool gateway_value_is_origin(struct span text)
{
	struct span host;

	if (span_equal_text(text, "*")) {
		return true;
	}
	if (span_starts_with(text, "https://")) {
		host = span_from(text, 8);
	} else if (span_starts_with(text, "http://")) {
		host = span_from(text, 7);
	} else {
		return false;
	}
	for (size_t i = 0; i < host.len; i++) {
		char c = host.ptr[i];
		bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
		if (!is_alnum && c != '.' && c != '-' && c != ':' && c != '[' && c != ']') {
			return false;
		}
	}
	return host.len > 0;
}
