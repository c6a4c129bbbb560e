-- Personal data leaves no prompt; Korean words stay what they are.
-- What is found.
SELECT factory.mask_pii(t) FROM unnest(ARRAY[
	'010-1234-5678', '01012345678', '010 1234 5678', '011-123-4567', '02-123-4567', '031-1234-5678', '+82-10-1234-5678', '070-1234-5678',
	'801201-1234567', '801201-5234567', '8012011234560',
	'1234-5678-9012-3456', '1234 5678 9012 3456', '4111111111111111', '3782-822463-10005',
	'hong@example.com', 'Mail gil.dong+x@mail.example.co.kr!', '11-12-345678-90', '110-123-456789', '123456-04-123456', 'M12345678', 'from 192.168.10.7:8080']) WITH ORDINALITY AS x(t, n) ORDER BY n;
-- Names: before 님 and 씨, and in front of what was found.
SELECT factory.mask_pii(t) FROM unnest(ARRAY[
	'홍길동님이 보고함', '홍길동 님', '김철수씨가 교대', '이영희 씨에게', '남궁민수님', '김철님',
	'홍길동(010-1234-5678)', '담당 박지성 010-1234-5678', '최유리, hong@example.com']) WITH ORDINALITY AS x(t, n) ORDER BY n;
-- The trap: none of this is anybody's.
SELECT t FROM unnest(ARRAY[
	'지난 7일간 LINE-A 불량률과 생산량을 보여줘', '이번 주 라인별 가동률 알려줘', '고객님', '담당자님께 알림', '작업자님', '반장님', '손님', '부모님',
	'오늘날씨가 어때', '오늘 날씨', '아저씨', '솜씨', '연락처 010', '이메일 주소', '전화번호', '주간 생산 이력', '정상품 비율', '최근 한 달', '고장률', '조립라인 유휴시간',
	'2026-11-26', '2026-11-26 12:30:45', '20261126', 'LOT-20261126-001', 'S20261126', 'WO-2026-1126-0001', '8801234567893', '1234567890123456',
	'A010-1234-5678', '0.0123', '123456.789', '12,345', '1.2.3', 'v10.20.30', 'SN 98765432101', '5/100', '3-3-6', 'P-100-200-300400', '1 2 3 4 5 6 7 8 9 10 11 12',
	'line@home', '@', 'a@b', '']) WITH ORDINALITY AS x(t, n)
WHERE factory.mask_pii(t) <> t ORDER BY n;
