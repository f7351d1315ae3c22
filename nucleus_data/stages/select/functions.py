"""The functions that an expression of a configuration may call, and how much each can grow a value.

All others are refused, with their name in the error: functions that see more than one record, read
a clock, a setting or a file, or make gigabytes from a few characters. Names are DuckDB's.
"""

OPERATORS = "+ - * / // % ** ^ & | << >> ~ ~~ ~~* !~~ !~~* ~~~ || -> ->>"
NUMBERS = """
abs add subtract multiply divide mod fmod sign signbit greatest least gcd lcm factorial bit_count
xor ceil ceiling floor round round_even roundbankers trunc even sqrt cbrt exp ln log log10 log2
pow power pi degrees radians sin cos tan cot asin acos atan atan2 sinh cosh tanh asinh acosh atanh
gamma lgamma nextafter isnan isinf isfinite
"""
TEXT = """
concat concat_ws length len strlen char_length character_length octet_length bit_length
length_grapheme lower lcase upper ucase trim ltrim rtrim left right left_grapheme right_grapheme
substr substring substring_grapheme reverse translate starts_with ends_with prefix suffix contains
instr strpos position like_escape not_like_escape ilike_escape not_ilike_escape regexp_matches
regexp_full_match regexp_extract regexp_extract_all regexp_escape split str_split string_split
string_to_array str_split_regex string_split_regex regexp_split_to_array ascii unicode ord chr
strip_accents nfc_normalize hex to_hex unhex from_hex base64 to_base64 from_base64 encode decode
url_encode url_decode md5 md5_number sha1 sha256 hash parse_filename parse_dirname parse_dirpath
parse_path format_bytes typeof levenshtein editdist3 damerau_levenshtein hamming mismatches
jaccard jaro_similarity jaro_winkler_similarity
"""
LISTS = """
list_value list_pack row struct_pack struct_extract struct_extract_at struct_insert map map_keys
map_values map_extract map_extract_value map_contains map_entries map_from_entries cardinality
element_at list_element list_extract array_extract list_contains list_has array_contains array_has
list_has_all list_has_any array_has_all array_has_any list_position list_indexof array_position
array_indexof array_length list_distinct array_distinct list_unique array_unique list_sort
array_sort list_reverse_sort array_reverse_sort list_slice array_slice list_concat list_cat
array_concat array_cat list_intersect array_intersect list_aggregate list_aggr array_aggregate
array_aggr list_dot_product list_inner_product list_cosine_similarity list_cosine_distance
list_distance flatten
"""
JSON = """
json_array_length json_contains json_exists json_extract json_extract_path json_extract_path_text
json_extract_string json_keys json_type json_valid json_value
"""
TIMES = """
date_part datepart date_trunc datetrunc date_diff datediff date_sub datesub century day dayname
dayofmonth dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us era hour isodow isoyear
julian last_day microsecond millennium millisecond minute month monthname nanosecond quarter
second timezone week weekday weekofyear year yearweek make_date make_time make_timestamp
make_timestamp_ms make_timestamp_ns strftime strptime try_strptime to_timestamp to_centuries
to_days to_decades to_hours to_microseconds to_millennia to_milliseconds to_minutes to_months
to_quarters to_seconds to_weeks to_years
"""
# The result of none of these is larger than its input, except for `GROWS`.
PLAIN = frozenset(" ".join((OPERATORS, NUMBERS, TEXT, LISTS, JSON, TIMES)).split())

# Function -> how many times as large as its input the result can be.
GROWS = {
    "hex": 2,
    "to_hex": 2,
    "base64": 2,
    "to_base64": 2,
    "url_encode": 3,
    "regexp_escape": 4,
}

# Function -> index of the argument that is the number of copies, which must be a literal.
REPEATS = {"repeat": 1, "lpad": 1, "rpad": 1, "list_resize": 1, "array_resize": 1}
# Function -> index of the argument that is the replacement, which must be a literal.
REPLACES = {"replace": 2, "regexp_replace": 2}

# Types that a cast may name. Types of extensions are left out: these would have to be downloaded.
TYPE_NAMES = """
bool boolean logical tinyint int1 smallint int2 short int integer int4 signed bigint int8 long
hugeint utinyint uint8 usmallint uint16 uinteger uint32 ubigint uint64 uhugeint uint128 int128
int16 int32 int64 float float4 real double float8 decimal numeric dec varchar char bpchar text
string blob bytea binary varbinary date time timestamp datetime timestamptz timestamp_s
timestamp_ms timestamp_ns interval uuid json list struct map
"""
TYPES = frozenset(TYPE_NAMES.split()) | {"timestamp with time zone", "time with time zone"}
